/** Runs one program in this process: signals, exit code, and the last catch of every error. */
import { CommandError, showFailure } from './messages.ts'
import { OutputClosed, processTerminal, type Terminal } from './terminal.ts'

/** A program: gets its words, returns its exit code. */
export type Program = (words: readonly string[], terminal: Terminal) => Promise<number>

const exitCodes = { SIGINT: 130, SIGTERM: 143 } as const

/**
 * Runs `program` with the process's arguments. The first SIGINT or SIGTERM aborts the terminal's signal, so that the
 * command can finish what must not be left half done and remove what it began; the second ends the process at once.
 */
export async function main(program: Program, forPeople: boolean): Promise<void> {
  const abort = new AbortController()
  let interrupted: keyof typeof exitCodes | undefined
  const interrupt = (signal: keyof typeof exitCodes): void => {
    if (interrupted !== undefined) process.exit(exitCodes[signal])
    interrupted = signal
    abort.abort(new CommandError(`interrupted by ${signal}`, { exitCode: exitCodes[signal] }))
  }
  process.on('SIGINT', interrupt)
  process.on('SIGTERM', interrupt)
  const terminal = processTerminal(process.argv[1] ?? 'diskgraph', forPeople, abort.signal)
  const code = await runProgram(program, process.argv.slice(2), terminal)
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

function failureCode(terminal: Terminal, error: unknown): number {
  if (error instanceof OutputClosed) return 1
  if (terminal.signal.aborted) {
    terminal.err(`${terminal.program}: interrupted\n`)
    return 1
  }
  return showFailure(terminal, error)
}
