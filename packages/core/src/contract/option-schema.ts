/**
 * Option schemas are data that can be walked: validation, defaults, `-o help`, the tables in the READMEs and QMP
 * introspection all read the same objects. Names are camelCase; `cache-size` and `cache_size` are conversions.
 */
import type { ChildRole } from './contract.ts'

interface Common {
  /** One sentence, shown by `-o help` and in the README. */
  readonly description: string
  readonly required?: boolean
  /** Changes what a reader sees, so that a file name of the node must tell it. */
  readonly strong?: boolean
  /** Its default goes without saying: `create` does not tell it. */
  readonly quiet?: boolean
  /** Holds a secret itself: names and messages leave it out. */
  readonly confidential?: boolean
  /** May be given to `reopen`. */
  readonly reopen?: boolean
  /** May be given to `amend`. */
  readonly amend?: boolean
  /** Old or short names that mean the same, camelCase. */
  readonly aliases?: readonly string[]
  /** Its spelling in QAPI where that is not kebab-case: `inject_error`. */
  readonly qapi?: string
  /** Its spelling on command lines where that is not that of its siblings: `key-secret`. False: they do without it. */
  readonly commandLine?: string | false
  /** Works, but is to go: what to use instead, for `-o help` and the README. */
  readonly deprecated?: string
}

/** One option of a driver. */
export type OptionSchema =
  | (Common & { readonly type: 'boolean'; readonly default?: boolean })
  | (Common & { readonly type: 'string'; readonly default?: string })
  | (Common & {
      readonly type: 'number'
      readonly default?: number
      readonly minimum?: number
      readonly maximum?: number
    })
  /** A whole number; from text also with the suffixes k M G T P E when `size` is set. */
  | (Common & {
      readonly type: 'integer'
      readonly default?: number
      readonly minimum?: number
      readonly maximum?: number
      readonly size?: boolean
    })
  | (Common & { readonly type: 'enum'; readonly values: readonly string[]; readonly default?: string })
  | (Common & { readonly type: 'object'; readonly properties: OptionSchemas })
  | (Common & { readonly type: 'list'; readonly items: OptionSchema })
  /** An object of the program that opens the node (a Blob, say), passed on as it is; text and JSON cannot give it. */
  | (Common & { readonly type: 'value'; readonly expects: string; check(value: unknown): boolean })
  /** A value that may have one of several types, tried in order. */
  | (Common & { readonly type: 'alternate'; readonly of: readonly OptionSchema[] })
  /** An object whose option `tag` says which variant it is, and so which other options it has. */
  | (Common & {
      readonly type: 'union'
      readonly tag: string
      readonly variants: { readonly [name: string]: OptionSchemas }
    })
  /** Null and nothing else: one side of an `alternate`. */
  | (Common & { readonly type: 'null' })
  /** A child node: a definition, the name of a node, or null for none. */
  | (Common & { readonly type: 'child'; readonly role: ChildRole })
  /** A list of child nodes. */
  | (Common & { readonly type: 'children'; readonly role: ChildRole; readonly minimum?: number })

/** Options by camelCase name. */
export interface OptionSchemas {
  readonly [name: string]: OptionSchema
}
