/** Node's calls on descriptors as promises. Those on the way of a request are in `transfer.ts`. */
import fs, { type BigIntStats } from 'node:fs'
import { promisify } from 'node:util'

/** Opens a file and gives its descriptor. */
export const open: (path: string, flags: number, mode?: number) => Promise<number> = promisify(fs.open)

/** Closes a descriptor; errors of delayed writes come out here. */
export const close: (fd: number) => Promise<void> = promisify(fs.close)

/** Status of an open file, with exact 64-bit fields. */
export const stat: (fd: number) => Promise<BigIntStats> = (fd) =>
  new Promise((resolve, reject) => {
    fs.fstat(fd, { bigint: true }, (error, stats) => (error === null ? resolve(stats) : reject(error)))
  })

/** Sets the size of a file. */
export const truncate: (fd: number, size: number) => Promise<void> = promisify(fs.ftruncate)

/** Brings data, and what of the metadata is needed to read it, to stable storage. */
export const syncData: (fd: number) => Promise<void> = promisify(fs.fdatasync)

/** Brings data and metadata to stable storage. */
export const sync: (fd: number) => Promise<void> = promisify(fs.fsync)

/** What follows is that of `node:fs/promises`, which loads readline and more and takes 2 ms at the start. */

/** The true name of a file, links followed. */
export const realpath: (path: string) => Promise<string> = promisify(fs.realpath)

/** Where a symbolic link leads. */
export const readlink: (path: string) => Promise<string> = promisify(fs.readlink)

/** Removes a file. */
export const unlink: (path: string) => Promise<void> = promisify(fs.unlink)

/** About the file at a path, links followed. */
export const statPath: (path: string) => Promise<fs.Stats> = promisify(fs.stat)
