/** Where the program tells what happens on its own, without a monitor. */
import { CommandError, messageOf, showFailure, type Terminal } from '@diskgraph/tools'

/** A terminal of this process; `err` gets texts of errors. */
export function programTerminal(program: string, signal: AbortSignal, err: (text: string) => void): Terminal {
  const write = (data: string | Uint8Array): void => void process.stdout.write(data)
  return {
    program,
    forPeople: false,
    color: false,
    interactive: false,
    columns: 80,
    progressStyle: 'none',
    signal,
    out: write,
    outBytes: write,
    err,
  }
}

/** Shows why the program cannot go on, with the hint of what caused it. */
export function showEnd(program: string, error: unknown): void {
  const terminal = programTerminal(program, new AbortController().signal, (text) => void process.stderr.write(text))
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  showFailure(terminal, new CommandError(messageOf(error), { cause }))
}
