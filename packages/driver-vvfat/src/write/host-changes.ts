/**
 * Changes of the host's directory, one at a time. Every name is looked up in an open folder, no link is followed, and
 * whatever is replaced, moved or removed is looked at before: it must be what the disk showed.
 */
import { type BigIntStats, constants } from 'node:fs'
import { type FileHandle, lstat, mkdir, open, rename, rmdir, unlink } from 'node:fs/promises'
import { sep } from 'node:path'
import { BlockError } from '@diskgraph/core/driver'
import type { Folder } from '../host/folder.ts'
import { stageName } from '../host/scan.ts'
import { type Identity, type Known, KnownDirectory, type KnownFile } from './known.ts'

const mostStages = 1000

/** See the top of the file. What is done to the host is done to the known files at once. */
export class HostChanges {
  readonly #root: Folder
  readonly #known: KnownDirectory
  /** Where new content is written, beside all that is shown, so that it can be renamed into its place. */
  #stage: KnownDirectory | undefined
  #staged = 0
  readonly #touched = new Set<KnownDirectory>()

  constructor(root: Folder, known: KnownDirectory) {
    this.#root = root
    this.#known = known
  }

  /** A new file that nobody sees yet, to be filled by the caller, who closes it. */
  async stage(): Promise<{ readonly name: string; readonly handle: FileHandle }> {
    this.#stage ??= await this.#makeStage()
    const name = String(++this.#staged)
    const handle = await this.#in(this.#stage, (folder) => open(folder.way(name), 'wx+', 0o666))
    return { name, handle }
  }

  /** Reads what was staged. The caller closes it. */
  openStaged(name: string): Promise<FileHandle> {
    const flags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0)
    return this.#in(this.#stage as KnownDirectory, (folder) => open(folder.way(name), flags))
  }

  /** Removes a staged file that is not wanted. */
  dropStaged(name: string): Promise<void> {
    return this.#in(this.#stage as KnownDirectory, (folder) => unlink(folder.way(name)))
  }

  /** Removes the folder of staged files, unless something found no other place. */
  async end(): Promise<void> {
    const stage = this.#stage
    if (stage !== undefined && this.#known.children.has(stage) && stage.children.size === 0) await this.remove(stage)
  }

  /** Puts the changed directories on stable storage. */
  async sync(): Promise<void> {
    for (const directory of this.#touched) await this.#in(directory, (folder) => folder.sync())
    this.#touched.clear()
  }

  /** Throws unless `known` is on the host what it was when it was looked at. EBUSY: somebody else changed it. */
  async mustBeSame(known: Known): Promise<void> {
    const stats = await this.#look(known.parent as KnownDirectory, known.hostName)
    const isSame =
      known.kind === 'directory'
        ? stats?.isDirectory() === true
        : stats?.isFile() === true &&
          stats.dev === known.device &&
          stats.ino === known.inode &&
          stats.mtimeNs === known.changed
    if (!isSame) throw changedError(known.path)
  }

  /** Throws when there is something of this name, unless it is one of those that are `leaving`. EEXIST. */
  async mustBeFree(directory: KnownDirectory, name: string, leaving: ReadonlySet<Known>): Promise<void> {
    const stats = await this.#look(directory, name)
    const there = [...directory.children].find(({ hostName }) => hostName === name)
    if (stats === undefined || (there !== undefined && leaving.has(there))) return
    const path = [...directory.path, name].join(sep)
    throw new BlockError('EEXIST', `'${path}' is there already, and is not to be replaced`)
  }

  async makeDirectory(
    parent: KnownDirectory,
    name: string,
    guestName: string,
    cluster: number,
  ): Promise<KnownDirectory> {
    await this.#in(parent, (folder) => mkdir(folder.way(name)))
    const made = new KnownDirectory(parent, name, guestName, cluster)
    parent.children.add(made)
    this.#touched.add(parent)
    return made
  }

  /** Puts a staged file into its place; what was there of that name is replaced. */
  async place(staged: string, parent: KnownDirectory, name: string): Promise<Identity> {
    const stats = await this.#in(this.#stage as KnownDirectory, (from) =>
      this.#in(parent, async (to) => {
        await rename(from.way(staged), to.way(name))
        return lstat(to.way(name), { bigint: true })
      }),
    )
    this.#touched.add(parent)
    return { device: stats.dev, inode: stats.ino, changed: stats.mtimeNs }
  }

  async move(known: Known, parent: KnownDirectory, name: string): Promise<void> {
    const old = known.parent as KnownDirectory
    await this.#in(old, (from) => this.#in(parent, (to) => rename(from.way(known.hostName), to.way(name))))
    old.children.delete(known)
    parent.children.add(known)
    known.parent = parent
    known.hostName = name
    this.#touched.add(old).add(parent)
  }

  /** Moves something out of the way of what is to stand there, until it finds its own place or is removed. */
  async moveAside(known: Known): Promise<void> {
    this.#stage ??= await this.#makeStage()
    await this.move(known, this.#stage, String(++this.#staged))
  }

  async remove(known: Known): Promise<void> {
    const parent = known.parent as KnownDirectory
    const way = known.hostName
    await this.#in(parent, (folder) => (known.kind === 'file' ? unlink(folder.way(way)) : rmdir(folder.way(way))))
    parent.children.delete(known)
    this.#touched.delete(known as KnownDirectory)
    this.#touched.add(parent)
  }

  /** Mode of a file, for what is to replace it. */
  async modeOf(file: KnownFile): Promise<number | undefined> {
    const stats = await this.#look(file.parent as KnownDirectory, file.hostName)
    return stats === undefined ? undefined : Number(stats.mode) & 0o777
  }

  async #makeStage(): Promise<KnownDirectory> {
    for (let n = 0; n < mostStages; n++) {
      const name = `${stageName}${process.pid}-${n}`
      try {
        await this.#in(this.#known, (folder) => mkdir(folder.way(name), 0o700))
        const stage = new KnownDirectory(this.#known, name, name, 0)
        this.#known.children.add(stage)
        return stage
      } catch (error) {
        if ((error as { code?: string }).code !== 'EEXIST') throw error
      }
    }
    throw new BlockError('EEXIST', `'${this.#root.path}' is full of folders '${stageName}…'`, {
      hint: 'remove those that nobody uses',
    })
  }

  #look(directory: KnownDirectory, name: string): Promise<BigIntStats | undefined> {
    return this.#in(directory, (folder) =>
      lstat(folder.way(name), { bigint: true }).catch((error) => {
        if (error.code === 'ENOENT') return undefined
        throw error
      }),
    )
  }

  async #in<T>(directory: KnownDirectory, work: (folder: Folder) => Promise<T>): Promise<T> {
    const folder = await this.#root.descend(directory.path)
    try {
      return await work(folder)
    } finally {
      await folder.close()
    }
  }
}

function changedError(path: readonly string[]): BlockError {
  return new BlockError('EBUSY', `'${path.join(sep)}' was changed on the host since the disk was opened`)
}
