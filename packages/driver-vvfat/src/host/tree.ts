/** What a directory of the host holds, as it was when it was looked at. */

/** A file of the host. Only what has the same identity is ever read. */
export interface HostFile {
  /** From the directory that is shown; the last one is its own. */
  readonly path: readonly string[]
  readonly device: bigint
  readonly inode: bigint
  readonly size: number
  /** When its content changed last, in nanoseconds. */
  readonly changed: bigint
}

/** Milliseconds since 1970. */
export interface Times {
  readonly created: number
  readonly accessed: number
  readonly modified: number
}

interface TreeFile {
  readonly kind: 'file'
  readonly name: string
  readonly times: Times
  readonly file: HostFile
}

export interface TreeDirectory {
  readonly kind: 'directory'
  readonly name: string
  readonly times: Times
  /** Sorted by name. */
  readonly entries: readonly TreeEntry[]
}

export type TreeEntry = TreeFile | TreeDirectory
