/** Runs one program in this process: signals, exit code, and the last catch of every error. */
import { CommandError, showFailure, type Terminal } from '@diskgraph/tools'
import { ObjectHelpRequest } from './objects.ts'
import { OutputClosed, processTerminal } from './terminal.ts'

/** A program: gets its words, returns its exit code. */
export type Program = (words: readonly string[], terminal: Terminal) => Promise<number>

/** How a program takes a signal that asks it to end. */
interface Interruption {
  /** The exit code by signal. */
  readonly exitCodes: Readonly<Record<string, number>>
  /** Milliseconds that it has to come to its end. */
  readonly grace: number
}

/** A command is cut short by it. */
const cutShort: Interruption = { exitCodes: { SIGINT: 130, SIGTERM: 143 }, grace: 700 }

/** A server does its work until then; what clients have written is to be flushed. */
export const orderly: Interruption = { exitCodes: { SIGINT: 0, SIGTERM: 0, SIGHUP: 0 }, grace: 10_000 }

/**
 * Runs `program` with the process's arguments. The first SIGINT or SIGTERM aborts the terminal's signal, so that the
 * command can finish what must not be left half done and remove what it began. When that takes long, or on a second
 * signal, the process ends at once: formats write so that an image is consistent whenever they are cut off.
 */
export async function main(program: Program, forPeople: boolean, { exitCodes, grace } = cutShort): Promise<void> {
  const abort = new AbortController()
  const terminal = processTerminal(process.argv[1] ?? 'diskgraph', forPeople, abort.signal)
  let interrupted: number | undefined
  let ended = false
  const cutOff = (): never => process.exit(interrupted || 1)
  const interrupt = (signal: string): void => {
    if (interrupted !== undefined) cutOff()
    interrupted = exitCodes[signal] as number
    setTimeout(() => {
      if (!ended) cutOff()
    }, grace).unref()
    abort.abort(new CommandError(`interrupted by ${signal}`, { exitCode: interrupted }))
  }
  // Where nothing is left that could wake the program, Node would end it as if all were well.
  const dryUp = (): void => {
    if (ended) return
    terminal.err(`${terminal.program}: internal error: the command cannot go on: what it waits for will never end\n`)
    cutOff()
  }
  const signals = Object.keys(exitCodes)
  for (const signal of signals) process.on(signal, interrupt)
  process.on('beforeExit', dryUp)
  process.exitCode = 1
  const code = await runProgram(program, process.argv.slice(2), terminal)
  ended = true
  process.exitCode = interrupted || code
  for (const signal of signals) process.off(signal, interrupt)
}

/** Runs `program` and shows the error that it ends with, if it does. The result is the exit code. */
export async function runProgram(program: Program, words: readonly string[], terminal: Terminal): Promise<number> {
  try {
    return await program(words, terminal)
  } catch (error) {
    return await failureCode(terminal, error)
  }
}

/** Shows the error that a program ended with, or the help that it asks for. The result is the exit code. */
export async function failureCode(terminal: Terminal, error: unknown): Promise<number> {
  if (error instanceof ObjectHelpRequest) {
    terminal.out(await error.text())
    return 0
  }
  if (error instanceof OutputClosed) return 1
  const { aborted, reason } = terminal.signal
  const code = reason instanceof CommandError ? reason.exitCode : 1
  // Where an interruption is the end in order, it is no reason for an error.
  if (aborted && code !== 0) {
    terminal.err(`${terminal.program}: interrupted\n`)
    return code
  }
  return showFailure(terminal, error)
}
