import type { Terminal } from '@diskgraph/tools'
import type { Grammar } from './command-line.ts'

/** A command of `dg-img` and `diskgraph`: how it is run, and what help, completion and manual pages say of it. */
export interface Command {
  /** The section of the list of commands. */
  readonly group: CommandGroup
  /** A phrase for lists. */
  readonly summary: string
  /** What stands behind the options: `FILE [SIZE]`. */
  readonly operands: string
  readonly options: Grammar
  /** Words behind the program's name, and what they do. A test runs them. */
  readonly examples: readonly CommandExample[]
  /** What exit codes mean, where that is more than 0 for success and 1 for an error. */
  readonly exitCodes?: Readonly<Record<number, string>>
  /** Runs with the words behind the command's name. The result is the exit code. */
  run(words: readonly string[], terminal: Terminal): Promise<number>
}

/** See {@link Command.group}. */
export type CommandGroup = 'look' | 'change' | 'other'

/** See {@link Command.examples}. */
export type CommandExample = readonly [line: string, what: string]
