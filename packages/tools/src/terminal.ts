/** Where a command writes to and who may interrupt it: the one door between commands and the process. */
import type { DriverDescriptor } from '@diskgraph/core'

/** What a command knows of the program that runs it. Tests give their own. */
export interface Terminal {
  /** The name that the program was called by; messages begin with it. */
  readonly program: string
  /** The front end for people (`diskgraph`): colours, bars and hints where the drop-in tools print QEMU's lines. */
  readonly forPeople: boolean
  /** Standard output understands colours. */
  readonly color: boolean
  /** Standard error is a terminal: a progress bar may be drawn there. */
  readonly interactive: boolean
  /** Columns of the terminal; 80 where there is none. */
  readonly columns: number
  /** How `--progress` of the front end wants progress shown. */
  readonly progressStyle: 'auto' | 'json' | 'none'
  /** Aborted on SIGINT and SIGTERM. Pass it to everything that takes a signal. */
  readonly signal: AbortSignal
  /** Drivers that the user has enabled besides those of the tools. */
  readonly enabled?: readonly DriverDescriptor[]
  /** Writes text to standard output, unchanged. */
  out(text: string): void
  /** Writes text to standard error, unchanged. */
  err(text: string): void
  /** Writes bytes to standard output. */
  outBytes(bytes: Uint8Array): void
}
