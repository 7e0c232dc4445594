/**
 * An open directory of the host, through which its entries are reached. On Linux a name is looked up from the descriptor,
 * so nobody can put a symbolic link or another directory into the way meanwhile. Elsewhere the true name of a directory
 * is compared with the one it should have, each time.
 */
import { constants } from 'node:fs'
import { type FileHandle, lstat, open, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { BlockError } from '@diskgraph/core/driver'

const isLinux = process.platform === 'linux'
const flags = constants.O_RDONLY | (constants.O_DIRECTORY ?? 0) | (constants.O_NOFOLLOW ?? 0)

/** See the top of the file. Whoever opens one closes it. System errors pass unchanged. */
export class Folder {
  /** Its true name. */
  readonly path: string
  readonly #handle: FileHandle | undefined

  private constructor(path: string, handle: FileHandle | undefined) {
    this.path = path
    this.#handle = handle
  }

  /** Opens the directory at `path`, links followed: a person gave it. */
  static async open(path: string): Promise<Folder> {
    const trueName = await realpath(path)
    return Folder.#at(trueName, trueName)
  }

  static async #at(way: string, path: string): Promise<Folder> {
    if (isLinux) return new Folder(path, await open(way, flags))
    if (!(await lstat(way)).isDirectory() || (await realpath(way)) !== path) throw notThere(path)
    return new Folder(path, undefined)
  }

  /** Opens a directory in this one; a symbolic link is none. */
  child(name: string): Promise<Folder> {
    return Folder.#at(this.way(name), join(this.path, name))
  }

  /** Opens the directory that the names lead to, one in the other. */
  async descend(names: readonly string[]): Promise<Folder> {
    let folder = await Folder.#at(this.way('.'), this.path)
    for (const name of names) {
      const parent = folder
      try {
        folder = await parent.child(name)
      } finally {
        await parent.close()
      }
    }
    return folder
  }

  /** What to call the system with for an entry, or for this directory itself: `.`. It must not follow links. */
  way(name: string): string {
    return this.#handle === undefined ? join(this.path, name) : `/proc/self/fd/${this.#handle.fd}/${name}`
  }

  /** Puts names that were made, renamed or removed on stable storage, where the system can. */
  async sync(): Promise<void> {
    await this.#handle?.sync()
  }

  async close(): Promise<void> {
    await this.#handle?.close()
  }
}

function notThere(path: string): BlockError {
  return new BlockError('ENOTDIR', `'${path}' is no directory any more`)
}
