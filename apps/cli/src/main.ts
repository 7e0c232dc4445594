/** Runs one program in this process: signals, exit code, and the last catch of every error. */
import { CommandError, showFailure, type Terminal } from '@diskgraph/tools'
import { OutputClosed, processTerminal } from './terminal.ts'

/** A program: gets its words, returns its exit code. */
export type Program = (words: readonly string[], terminal: Terminal) => Promise<number>

const exitCodes = { SIGINT: 130, SIGTERM: 143 } as const

/** Milliseconds after an interruption that a command has to come to its end. */
const grace = 700

/**
 * Runs `program` with the process's arguments. The first SIGINT or SIGTERM aborts the terminal's signal, so that the
 * command can finish what must not be left half done and remove what it began. When that takes long, or on a second
 * signal, the process ends at once: formats write so that an image is consistent whenever they are cut off.
 */
export async function main(program: Program, forPeople: boolean): Promise<void> {
  const abort = new AbortController()
  const terminal = processTerminal(process.argv[1] ?? 'diskgraph', forPeople, abort.signal)
  let interrupted: keyof typeof exitCodes | undefined
  let ended = false
  const interrupt = (signal: keyof typeof exitCodes): void => {
    if (interrupted !== undefined) process.exit(exitCodes[signal])
    interrupted = signal
    setTimeout(() => {
      if (!ended) process.exit(exitCodes[signal])
    }, grace).unref()
    abort.abort(new CommandError(`interrupted by ${signal}`, { exitCode: exitCodes[signal] }))
  }
  // Where nothing is left that could wake the program, Node would end it as if all were well.
  const dryUp = (): void => {
    if (ended) return
    terminal.err(`${terminal.program}: internal error: the command cannot go on: what it waits for will never end\n`)
    process.exit(interrupted === undefined ? 1 : exitCodes[interrupted])
  }
  process.on('SIGINT', interrupt)
  process.on('SIGTERM', interrupt)
  process.on('beforeExit', dryUp)
  process.exitCode = 1
  const code = await runProgram(program, process.argv.slice(2), terminal)
  ended = true
  process.exitCode = interrupted === undefined ? code : exitCodes[interrupted]
  process.off('SIGINT', interrupt)
  process.off('SIGTERM', interrupt)
}

/** Runs `program` and shows the error that it ends with, if it does. The result is the exit code. */
export async function runProgram(program: Program, words: readonly string[], terminal: Terminal): Promise<number> {
  try {
    return await program(words, terminal)
  } catch (error) {
    return failureCode(terminal, error)
  }
}

/** Shows the error that a program ended with. The result is the exit code. */
export function failureCode(terminal: Terminal, error: unknown): number {
  if (error instanceof OutputClosed) return 1
  if (terminal.signal.aborted) {
    terminal.err(`${terminal.program}: interrupted\n`)
    const { reason } = terminal.signal
    return reason instanceof CommandError ? reason.exitCode : 1
  }
  return showFailure(terminal, error)
}
