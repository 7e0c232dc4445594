import { BlockError } from '@diskgraph/core/driver'

/** A file of the origin private file system, however it is reached. Offsets and sizes are in bytes. */
export interface OpfsFile {
  /** Its size when it was opened. */
  readonly size: number
  /** Fills `buf`, all of which lies inside the file. */
  read(offset: number, buf: Uint8Array): Promise<void>
  /** The bytes are the caller's again when it has settled. Grows the file, with zeroes between. */
  write(offset: number, bytes: Uint8Array): Promise<void>
  truncate(size: number): Promise<void>
  flush(): Promise<void>
  close(): Promise<void>
}

/** `read-only` lets others read meanwhile where the browser knows it; elsewhere a file is for one at a time. */
export type OpfsMode = 'readwrite' | 'read-only'

/** Throws EIO when a handle has read `count` bytes of `length`. */
export function mustBeRead(count: number, length: number): void {
  if (count < length) throw new BlockError('EIO', `the file ends ${length - count} bytes too early`)
}

/** Throws ENOSPC when a handle has written `count` bytes of `length`. */
export function mustBeWritten(count: number, length: number): void {
  if (count < length) throw new BlockError('ENOSPC', `${length - count} bytes found no room`)
}
