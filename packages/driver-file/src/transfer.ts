/** Transfers on the thread pool: short ones are continued, what lies past the end of the file is filled with zeroes. */
import fs from 'node:fs'
import { BlockError, done } from '@diskgraph/core/driver'
import { fileError } from './errors.ts'

/** Where a transfer goes: the descriptor may change on reopen, the name is for messages. */
export interface Target {
  readonly fd: number
  readonly filename: string
}

/** A target of writes, which hears of each when it has completed: `end` is the offset behind the last byte written. */
export interface WriteTarget extends Target {
  written(end: number): void
}

/**
 * Reads into `buf` from its byte `from` on; byte 0 of `buf` stands for `offset`. With `unit` above 1 (direct
 * access), a count that is no multiple of it is the end of the file.
 */
export function readFully(target: Target, buf: Uint8Array, from: number, offset: number, unit = 1): Promise<void> {
  return new Promise((resolve, reject) => {
    let at = from
    const next = () => fs.read(target.fd, buf, at, buf.byteLength - at, offset + at, onRead)
    const onRead = (error: NodeJS.ErrnoException | null, count: number) => {
      if (error !== null) {
        if (error.code === 'EINTR') next()
        else reject(fileError(error, `cannot read ${buf.byteLength} bytes at ${offset} of '${target.filename}'`))
        return
      }
      at += count
      if (at === buf.byteLength) return resolve()
      if (count === 0 || (unit > 1 && count % unit !== 0)) {
        buf.fill(0, at)
        return resolve()
      }
      next()
    }
    next()
  })
}

/** Writes all of `buf` at `offset`. */
export function writeFully(target: WriteTarget, buf: Uint8Array, offset: number): Promise<void> {
  if (buf.byteLength === 0) return done
  return new Promise((resolve, reject) => {
    let at = 0
    const next = () => fs.write(target.fd, buf, at, buf.byteLength - at, offset + at, onWritten)
    const fail = (error: unknown) => {
      // Deno goes on after a short write, and does not tell how far it came before the one that failed.
      fs.fstat(target.fd, (_, stats) => {
        target.written(Math.max(offset + at, Math.min(stats?.size ?? 0, offset + buf.byteLength)))
        reject(fileError(error, `cannot write ${buf.byteLength} bytes at ${offset} of '${target.filename}'`))
      })
    }
    const onWritten = (error: NodeJS.ErrnoException | null, count: number) => {
      if (error !== null) {
        if (error.code === 'EINTR') next()
        else fail(error)
        return
      }
      at += count
      if (at < buf.byteLength) {
        if (count === 0) fail(new BlockError('ENOSPC', `no room behind byte ${offset + at} of '${target.filename}'`))
        else next()
        return
      }
      target.written(offset + at)
      resolve()
    }
    next()
  })
}
