/** The terminal of a process: how its commands write. */
import { writeSync } from 'node:fs'
import type { Terminal } from '@diskgraph/tools'
import { programName } from './program-name.ts'

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
