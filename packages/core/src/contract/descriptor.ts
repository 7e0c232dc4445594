/**
 * What a driver package exports, and `defineDriver`, by which the compiler holds a driver's option types and option
 * schemas together: each option of the interface has a schema and the other way round, what is required in one is
 * required in the other, and their values have one type.
 */
import type { CreateContext, OpenContext } from './contexts.ts'
import type { ChildRole, OpenImage } from './contract.ts'
import type { Child } from './drivers.ts'
import type { Measurement } from './image-operations.ts'
import type { OptionSchema, OptionSchemas } from './option-schema.ts'

/** What {@link DriverDescriptor.measure} is asked about. */
export interface MeasureRequest {
  /** Create options of the new image, validated with defaults. */
  readonly options: Readonly<Record<string, unknown>>
  /** Virtual size; of the source if there is one. */
  readonly size: number
  /** Status of the content to store, whole chain; absent: an image of `size` without a source. */
  readonly extents?: AsyncIterable<{
    readonly offset: number
    readonly length: number
    readonly data: boolean
    readonly zero: boolean
  }>
  /** Bitmaps of the source, which the new image is to store; absent: the source can have none. */
  readonly bitmaps?: readonly { readonly name: string; readonly granularity: number }[]
}

/** Optional methods of an image that listings tell of. */
export type ImageMethod =
  | 'write'
  | 'writeZeroes'
  | 'discard'
  | 'truncate'
  | 'blockStatus'
  | 'check'
  | 'snapshots'
  | 'amend'

/** What {@link DriverDescriptor.stream} makes an image of. */
export interface StreamRequest extends Pick<CreateContext, 'clock' | 'random'> {
  /** Create options of the new image, validated with defaults. */
  readonly options: Readonly<Record<string, unknown>>
  /** The data is to be stored compressed. */
  readonly compressed: boolean
  readonly signal?: AbortSignal | undefined
  /** Status of the content, whole chain, from its start to its end; each call begins anew, and gives the same. */
  extents(): NonNullable<MeasureRequest['extents']>
  /** Fills `buf` with content; zeroes behind its end. */
  read(offset: number, buf: Uint8Array): Promise<void>
}

/** What a driver package exports: plain data and functions, no side effect on import. */
export interface DriverDescriptor {
  /** QAPI name: `qcow2`, `file`, `copy-before-write`. */
  readonly name: string
  readonly kind: 'protocol' | 'format' | 'filter'
  /** One sentence for listings. */
  readonly description: string
  readonly options: OptionSchemas
  /** None of its images can be written, so what is below them is opened for reading, and may be used by others, too. */
  readonly readOnly?: boolean
  readonly createOptions?: OptionSchemas
  /** What its images take to be amended, where that is more than those of `createOptions` that are marked so. */
  readonly amendOptions?: OptionSchemas
  /**
   * What its images can do besides reading, where the storage and the mode allow it; for those that cannot be made in
   * memory to be looked at. The conformance suite holds images to it.
   */
  readonly imageMethods?: readonly ImageMethod[]
  /** Its images take writes with `Flag.Compressed`. */
  readonly compressedWrites?: boolean
  /** How surely the start of a file is this format: 0 not at all, 100 certainly. `head` is the first 2 KiB, zeroes behind the end. */
  probe?(head: Uint8Array, filename: string): number
  /** Whether the end of a file is this format's; asked where no start is, of its last KiB, for formats that begin with the disk. */
  probeTail?(tail: Uint8Array): boolean
  /** Prefixes of file names that belong to this protocol, e.g. `['http', 'https']` or `['blkdebug']`. */
  readonly prefixes?: readonly string[]
  /** Options (children among them) that a file name with one of the prefixes stands for. EINVAL if malformed. */
  parseFilename?(filename: string): Record<string, unknown>
  /** Whether a plain path belongs to this protocol rather than to `file` (a device, say). Asked without opening it. */
  claimsPath?(path: string): Promise<boolean>
  /** A short name for these options and children's names, the inverse of `parseFilename`; undefined if only `json:` fits. */
  formatFilename?(
    options: Readonly<Record<string, unknown>>,
    children: Readonly<Record<string, string>>,
  ): string | undefined
  open(context: OpenContext): Promise<OpenImage>
  /** Protocols make a new file; formats write into `children.require('file')`. */
  create?(context: CreateContext): Promise<void>
  /** A protocol without `create` whose storage is there already: new images are made in it. */
  readonly storageExists?: boolean
  /** Throws for create options, children among them, that do not go together, before any storage is touched. */
  validateCreate?(options: Readonly<Record<string, unknown>>): void
  /** The permissions of an edge, where those of its role do not fit (else undefined). Arguments: the node's own mode, and bits. */
  childPermissions?(
    child: {
      readonly name: string
      readonly role: ChildRole
      readonly options: Readonly<Record<string, unknown>>
      readonly readOnly: boolean
    },
    permissions: number,
    shared: number,
  ): { readonly permissions: number; readonly shared: number } | undefined
  /** Removes what `create` made. */
  remove?(options: Readonly<Record<string, unknown>>): Promise<void>
  measure?(request: MeasureRequest): Promise<Measurement>
  /**
   * The bytes of a new image, in order, for targets that cannot seek. A buffer is valid until the next one is asked for.
   * Undefined for options whose images need seeking.
   */
  stream?(request: StreamRequest): AsyncIterable<Uint8Array> | undefined
}

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
