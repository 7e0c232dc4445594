/** Reads of the host's files, a few of which are kept open. */
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { sep } from 'node:path'
import { BlockError, toBlockError } from '@diskgraph/core/driver'
import type { Folder } from './folder.ts'
import type { HostFile } from './tree.ts'

const mostOpen = 32

interface OpenFile {
  readonly handle: Promise<FileHandle>
  users: number
}

/** See the top of the file. A file that has another identity than it had, is not read: its bytes are somebody else's. */
export class HostFiles {
  readonly #root: Folder
  /** The one used last stands last. */
  readonly #open = new Map<HostFile, OpenFile>()

  constructor(root: Folder) {
    this.#root = root
  }

  /** Fills `buf` with what the file has from `offset` on; zeroes behind its end. EIO when it was replaced or removed. */
  async read(file: HostFile, offset: number, buf: Uint8Array): Promise<void> {
    const entry = await this.#use(file)
    try {
      const handle = await entry.handle
      let done = 0
      while (done < buf.length) {
        const { bytesRead } = await handle.read(buf, done, buf.length - done, offset + done)
        if (bytesRead === 0) break
        done += bytesRead
      }
      buf.fill(0, done)
    } catch (error) {
      throw toBlockError(error, `cannot read '${file.path.join(sep)}' of '${this.#root.path}'`)
    } finally {
      entry.users--
    }
  }

  /** Forgets the open files: they change, or are no longer wanted. */
  async closeAll(): Promise<void> {
    const all = [...this.#open.values()]
    this.#open.clear()
    for (const { handle } of all) await (await handle.catch(() => undefined))?.close()
  }

  async #use(file: HostFile): Promise<OpenFile> {
    const known = this.#open.get(file)
    const entry = known ?? { handle: this.#openFile(file), users: 0 }
    this.#open.delete(file)
    this.#open.set(file, entry)
    entry.users++
    if (known === undefined) {
      // What failed is tried again by the next read.
      entry.handle.catch(() => this.#open.delete(file))
      await this.#closeOldest()
    }
    return entry
  }

  async #closeOldest(): Promise<void> {
    for (const [file, { handle, users }] of this.#open) {
      if (this.#open.size <= mostOpen) return
      if (users > 0) continue
      this.#open.delete(file)
      await (await handle.catch(() => undefined))?.close()
    }
  }

  async #openFile(file: HostFile): Promise<FileHandle> {
    const folder = await this.#root.descend(file.path.slice(0, -1))
    try {
      return await openSame(folder, file)
    } finally {
      await folder.close()
    }
  }
}

/** Opens a file for reading, if it is still the same. */
async function openSame(folder: Folder, file: HostFile): Promise<FileHandle> {
  const flags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0)
  const handle = await open(folder.way(file.path.at(-1) as string), flags)
  try {
    const stats = await handle.stat({ bigint: true })
    if (stats.isFile() && stats.dev === file.device && stats.ino === file.inode) return handle
    const name = file.path.join(sep)
    throw new BlockError('EIO', `cannot read '${name}': another file stands in its place since it was opened`, {
      hint: 'open the node again to see the directory as it is now',
    })
  } catch (error) {
    await handle.close()
    throw error
  }
}
