/**
 * How the schema is written down: QAPI's own words as plain data, so that validation, introspection and the compiler
 * (`TypeOf`) read one table. A member whose name begins with `*` may be left out, `['str']` is a list of texts.
 */

/** A type by name, or a list of it. */
export type Ref = string | readonly [string]

/** Members of an object by QAPI name. */
export interface Members {
  readonly [name: string]: Ref
}

/** A type of the schema. */
export type TypeDefinition =
  | { readonly enum: readonly string[] }
  /** An object. With a `tag`, the value of that member says which further members there are. */
  | { readonly struct: Members; readonly tag?: string; readonly variants?: { readonly [value: string]: string } }
  /** One of several types, told apart by what JSON makes of them. */
  | { readonly alternate: readonly string[] }

/** Types by name. */
export interface TypeTable {
  readonly [name: string]: TypeDefinition
}

/** A command: what it takes, and what it gives. */
export interface CommandDefinition {
  readonly data?: string | Members
  /** Arguments as clients of older versions send them. */
  readonly older?: Members
  /** It takes further arguments, which no schema knows: those of a device. */
  readonly open?: boolean
  /** Left out: an empty object. */
  readonly returns?: Ref
  /** May be executed out of band. */
  readonly oob?: boolean
}

/** Commands by name. */
export interface CommandTable {
  readonly [name: string]: CommandDefinition
}

/** The data of events by name. */
export interface EventTable {
  readonly [name: string]: Members
}

/** The types that need no definition. `int` is signed, 64 bits wide; `size` and `uint64` are not signed. */
export const builtins = ['str', 'int', 'uint32', 'uint64', 'size', 'number', 'bool', 'null', 'any'] as const

/** A type that needs no definition. */
export type Builtin = (typeof builtins)[number]
