import type { Terminal } from './terminal.ts'

/** A command of `dg-img` and `diskgraph`. */
export interface Command {
  /** Runs with the words behind the command's name. The result is the exit code. */
  run(words: readonly string[], terminal: Terminal): Promise<number>
}
