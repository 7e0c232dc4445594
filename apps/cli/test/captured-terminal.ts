import type { Terminal } from '@diskgraph/tools'

/** A terminal that keeps what is written to it. */
export interface CapturedTerminal extends Terminal {
  stdout: string
  stderr: string
}

/** A terminal for tests, as `program` would have it outside of an interactive one. */
export function capturedTerminal(
  program = 'dg-img',
  settings: Partial<Pick<Terminal, 'forPeople' | 'color' | 'interactive' | 'signal'>> = {},
): CapturedTerminal {
  const captured: CapturedTerminal = {
    program,
    forPeople: false,
    color: false,
    interactive: false,
    columns: 80,
    progressStyle: 'auto',
    signal: new AbortController().signal,
    ...settings,
    stdout: '',
    stderr: '',
    out: (text) => {
      captured.stdout += text
    },
    err: (text) => {
      captured.stderr += text
    },
    outBytes: (bytes) => {
      captured.stdout += Buffer.from(bytes).toString('latin1')
    },
  }
  return captured
}
