/** What the compiler makes of the tables. */
import type { commands, events, types } from './tables.ts'

type Types = typeof types
type Commands = typeof commands
type Events = typeof events

interface BuiltinTypes {
  str: string
  int: number
  uint32: number
  uint64: number
  size: number
  number: number
  bool: boolean
  null: null
  any: unknown
  BlockdevDriver: string
}

/** Options of a node, of a new image, or changes of one, in QAPI's spelling; each driver has its own. */
export interface DriverOptions {
  readonly driver: string
  readonly [name: string]: unknown
}

type Optional<Name> = Name extends `*${infer Rest}` ? Rest : never
type Required<Name> = Name extends `*${string}` ? never : Name

type Struct<M> = { readonly [Name in keyof M as Required<Name>]: TypeOf<M[Name]> } & {
  readonly [Name in keyof M as Optional<Name>]?: TypeOf<M[Name]> | undefined
}

type Tagged<M, Tag extends string, V> = {
  [Value in keyof V]: Struct<Omit<M, Tag>> & { readonly [T in Tag]: Value } & TypeOf<V[Value]>
}[keyof V]

type Defined<D> = D extends { readonly enum: readonly (infer Value)[] }
  ? Value
  : D extends { readonly alternate: readonly (infer One)[] }
    ? TypeOf<One>
    : D extends { readonly struct: infer M; readonly tag: infer Tag extends string; readonly variants: infer V }
      ? Tagged<M, Tag, V>
      : D extends { readonly struct: infer M }
        ? Struct<M>
        : never

/** The values of a type of the schema: `TypeOf<'ImageInfo'>`, `TypeOf<['str']>`. */
export type TypeOf<R> = R extends readonly [infer Item]
  ? readonly TypeOf<Item>[]
  : R extends keyof BuiltinTypes
    ? BuiltinTypes[R]
    : R extends keyof Types
      ? Defined<Types[R]>
      : DriverOptions

/** The name of a command. */
export type CommandName = keyof Commands

/** The arguments of a command. */
export type ArgumentsOf<Name extends CommandName> = Commands[Name] extends { readonly data: infer D }
  ? D extends string
    ? TypeOf<D>
    : Struct<D>
  : Record<never, never>

/** What a command returns. */
export type ReturnOf<Name extends CommandName> = Commands[Name] extends { readonly returns: infer R }
  ? TypeOf<R>
  : Record<never, never>

/** The name of an event. */
export type EventName = keyof Events

/** The data of an event. */
export type EventData<Name extends EventName> = Struct<Events[Name]>
