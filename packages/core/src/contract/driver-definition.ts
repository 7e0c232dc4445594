/**
 * Drivers whose option types and option schemas are held together by the compiler: each option of the interface has a
 * schema and the other way round, what is required in one is required in the other, and their values have one type.
 */
import type { CreateContext, OpenContext } from './contexts.ts'
import type { DriverDescriptor, OpenImage } from './contract.ts'
import type { Child } from './drivers.ts'
import type { OptionSchema } from './option-schema.ts'

type Of<Type extends OptionSchema['type']> = Extract<OptionSchema, { type: Type }>

type Text<T extends string> = string extends T
  ? Of<'string'>
  : Omit<Of<'enum'>, 'values' | 'default'> & { readonly values: readonly T[]; readonly default?: T }

type ListOf<Item> =
  | (Omit<Of<'list'>, 'items'> & { readonly items: SchemaOf<Item> })
  | (Child extends Item ? Of<'children'> : never)

/** Values that no simple schema describes. */
type Other<T> =
  | Of<'alternate' | 'union' | 'value'>
  | (T extends object ? Omit<Of<'object'>, 'properties'> & { readonly properties: SchemasOf<T> } : never)

type Plain<T> = [T] extends [boolean]
  ? Of<'boolean'>
  : [T] extends [number]
    ? Of<'integer' | 'number'>
    : [T] extends [string]
      ? Text<T>
      : [T] extends [readonly (infer Item)[]]
        ? ListOf<Item>
        : [T] extends [null]
          ? Of<'null'>
          : Other<T>

/** The schemas that fit an option of type `T`. */
export type SchemaOf<T> = Plain<T> | (Child extends T ? Of<'child'> : never)

type IsOptional<Options, Name extends keyof Options> = Record<never, never> extends Pick<Options, Name> ? true : false

/** The schemas of an interface of options: the same names, required where they are, with values of their types. */
export type SchemasOf<Options> = {
  readonly [Name in keyof Options]-?: SchemaOf<Exclude<Options[Name], undefined>> &
    (IsOptional<Options, Name> extends true ? { readonly required?: false } : { readonly required: true })
}

type Typed = 'options' | 'createOptions' | 'open' | 'create'

/** A {@link DriverDescriptor} whose schemas agree with the interfaces `Open` and `Create`. */
export type DefinedDriver<Open, Create> = Omit<DriverDescriptor, Typed> & {
  readonly options: SchemasOf<Open>
  open(context: OpenContext<Open>): Promise<OpenImage>
} & ([Create] extends [never]
    ? { readonly createOptions?: undefined; readonly create?: undefined }
    : { readonly createOptions: SchemasOf<Create>; create(context: CreateContext<Create>): Promise<void> })

/**
 * `defineDriver<Options, CreateOptions>()({ name: 'mine', … })` is the descriptor itself, checked at compile time. Leave
 * `CreateOptions` out where there is no `create`.
 */
export function defineDriver<Open, Create = never>(): (driver: DefinedDriver<Open, Create>) => DriverDescriptor {
  return (driver) => driver as unknown as DriverDescriptor
}
