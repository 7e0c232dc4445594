/**
 * Looks at a directory of the host. What is neither a file nor a directory, what may not be read and what has a name that is
 * no text is left out. A symbolic link counts as the file it leads to, if that lies in the directory; links to directories
 * are left out, so there are no circles.
 */
import { type BigIntStats, constants } from 'node:fs'
import { access, lstat, readdir, realpath, stat } from 'node:fs/promises'
import { relative, sep } from 'node:path'
import { BlockError, throwIfAborted } from '@diskgraph/core/driver'
import type { Folder } from './folder.ts'
import type { HostFile, Times, TreeDirectory, TreeEntry } from './tree.ts'

/** Entries of FAT have 32 bits for it. */
const largestFile = 2 ** 32 - 1
const mostFiles = 2 ** 20
const deepest = 64
const namedInWarning = 3
/** How the names of folders begin in which files are written before they get their place. */
export const stageName = '.diskgraph-vvfat-'

/** How a scan goes about it. */
interface ScanSettings {
  /** Symbolic links count as files; else they are left out, too. */
  readonly links: boolean
  readonly signal: AbortSignal | undefined
  /** Hears once of everything that was left out. */
  readonly warn: (message: string) => void
}

/** The tree below `root`. EFBIG for a file that FAT cannot hold, EOVERFLOW for too many or too deep ones. */
export async function scan(root: Folder, settings: ScanSettings): Promise<TreeDirectory> {
  const scanning = new Scan(root, settings)
  const tree = await scanning.directory(root, [], timesOf(await lstat(root.way('.'), { bigint: true })))
  scanning.report()
  return tree
}

class Scan {
  readonly #root: Folder
  readonly #settings: ScanSettings
  readonly #leftOut: string[] = []
  #found = 0
  #left = 0

  constructor(root: Folder, settings: ScanSettings) {
    this.#root = root
    this.#settings = settings
  }

  async directory(folder: Folder, path: readonly string[], times: Times): Promise<TreeDirectory> {
    if (path.length > deepest) throw tooMuch(`'${folder.path}' is more than ${deepest} directories deep`)
    const entries: TreeEntry[] = []
    for (const name of await this.#names(folder)) {
      throwIfAborted(this.#settings.signal)
      const entry = await this.#entry(folder, [...path, name], name)
      if (entry === undefined) this.#leaveOut([...path, name].join(sep))
      else entries.push(entry)
    }
    return { kind: 'directory', name: path.at(-1) ?? '', times, entries }
  }

  async #names(folder: Folder): Promise<string[]> {
    const names: string[] = []
    for (const bytes of await readdir(folder.way('.'), { encoding: 'buffer' })) {
      if (++this.#found > mostFiles) throw tooMuch(`'${this.#root.path}' has more than ${mostFiles} files`)
      const name = bytes.toString()
      if (name.startsWith(stageName) && folder === this.#root) continue
      if (Buffer.from(name).equals(bytes)) names.push(name)
      else this.#leaveOut(`${folder.path}${sep}${name}`)
    }
    return names.sort()
  }

  async #entry(folder: Folder, path: readonly string[], name: string): Promise<TreeEntry | undefined> {
    try {
      const way = folder.way(name)
      const stats = await lstat(way, { bigint: true })
      if (stats.isDirectory()) return await this.#child(folder, path, name, stats)
      if (stats.isSymbolicLink()) return this.#settings.links ? await this.#linked(way, name) : undefined
      if (!stats.isFile()) return undefined
      await access(way, constants.R_OK)
      return { kind: 'file', name, times: timesOf(stats), file: fileOf(path, stats) }
    } catch (error) {
      // What went away meanwhile, or may not be looked at.
      if (isOneOf(error, ['ENOENT', 'EACCES', 'EPERM', 'ELOOP', 'ENOTDIR', 'ENXIO'])) return undefined
      throw error
    }
  }

  async #child(
    folder: Folder,
    path: readonly string[],
    name: string,
    stats: BigIntStats,
  ): Promise<TreeDirectory | undefined> {
    const child = await folder.child(name)
    try {
      return await this.directory(child, path, timesOf(stats))
    } finally {
      await child.close()
    }
  }

  async #linked(way: string, name: string): Promise<TreeEntry | undefined> {
    const target = await realpath(way)
    const root = this.#root.path
    if (!target.startsWith(root.endsWith(sep) ? root : root + sep)) return undefined
    const stats = await stat(target, { bigint: true })
    if (!stats.isFile()) return undefined
    await access(target, constants.R_OK)
    return { kind: 'file', name, times: timesOf(stats), file: fileOf(relative(root, target).split(sep), stats) }
  }

  #leaveOut(path: string): void {
    this.#left++
    if (this.#leftOut.length < namedInWarning) this.#leftOut.push(`'${path}'`)
  }

  report(): void {
    if (this.#left === 0) return
    const more = this.#left > this.#leftOut.length ? ' …' : ''
    const what = `${this.#left} that are no readable files or directories: ${this.#leftOut.join(', ')}${more}`
    this.#settings.warn(`of '${this.#root.path}' these are left out, ${what}`)
  }
}

function fileOf(path: readonly string[], stats: BigIntStats): HostFile {
  const size = Number(stats.size)
  if (size > largestFile) {
    throw new BlockError(
      'EFBIG',
      `File ${path.join(sep)} is larger than 4 GiB (${size} bytes), which no FAT can hold`,
      {
        hint: 'move it out of the directory',
      },
    )
  }
  return { path, device: stats.dev, inode: stats.ino, size, changed: stats.mtimeNs }
}

function timesOf(stats: BigIntStats): Times {
  return { created: Number(stats.ctimeMs), accessed: Number(stats.atimeMs), modified: Number(stats.mtimeMs) }
}

function tooMuch(what: string): BlockError {
  return new BlockError('EOVERFLOW', `cannot show a directory as FAT: ${what}`, { hint: 'show a smaller directory' })
}

function isOneOf(error: unknown, codes: readonly string[]): boolean {
  return codes.includes((error as { code?: string }).code ?? '')
}
