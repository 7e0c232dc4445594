/** Where a command writes to and who may interrupt it: the one door between commands and the process. */
import { writeSync } from 'node:fs'
import type { DriverDescriptor } from '@diskgraph/core'
import { programName } from './program-name.ts'

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

/** The reader of standard output is gone (`… | head`): the command ends without a message. */
export class OutputClosed extends Error {}

/** The terminal of this process. `program` is taken from the path that the program was called by. */
export function processTerminal(calledBy: string, forPeople: boolean, signal: AbortSignal): Terminal {
  const isTty = (fd: number): boolean => (fd === 1 ? process.stdout : process.stderr).isTTY === true
  return {
    program: programName(calledBy),
    forPeople,
    color: forPeople && wantsColor(process.env) && isTty(1),
    interactive: forPeople && isTty(2),
    columns: (forPeople ? process.stderr.columns : 0) || 80,
    progressStyle: 'auto',
    signal,
    out: (text) => writeAll(1, Buffer.from(text)),
    err: (text) => writeAll(2, Buffer.from(text)),
    outBytes: (bytes) => writeAll(1, bytes),
  }
}

function wantsColor(env: NodeJS.ProcessEnv): boolean {
  return (env.NO_COLOR === undefined || env.NO_COLOR === '') && env.TERM !== 'dumb'
}

const pause = new Int32Array(new SharedArrayBuffer(4))

/** Synchronous, so that output and errors keep their order and nothing is lost when the process ends. */
function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(fd, bytes, at)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'EPIPE' || code === 'EBADF') {
        if (fd === 2) return
        throw new OutputClosed('standard output is closed', { cause: error })
      }
      if (code !== 'EAGAIN') throw error
      Atomics.wait(pause, 0, 0, 1)
    }
  }
}
