/** What a shell can offer at a place of a command line. */
import type { Values } from '../words.ts'

/** An option; `values` is undefined where it takes none. */
export interface CompletedOption {
  readonly short: string | undefined
  readonly long: string | undefined
  readonly description: string
  readonly values: Values | undefined
}

/** Behind the name of a program or of a command. */
export interface CompletedPlace {
  readonly name: string
  readonly summary: string
  readonly options: readonly CompletedOption[]
  /** Operands of the form `key=value`. */
  readonly named: readonly { readonly key: string; readonly values: Values }[]
  readonly operands: Values
}

/** A program without commands takes operands in front of them. */
export interface CompletedProgram {
  readonly front: CompletedPlace
  readonly commands: readonly CompletedPlace[]
}

/** The spellings of an option: `-f`, `--format`. */
export function spellings({ short, long }: Pick<CompletedOption, 'short' | 'long'>): string[] {
  return [...(short === undefined ? [] : [`-${short}`]), ...(long === undefined ? [] : [`--${long}`])]
}

/** A word between single quotes, as bash and zsh read it. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
