/**
 * Brings what a guest has done into the directory of the host, in this order:
 *
 * 1. New content is written into files that nobody sees, and put on stable storage. All that is read is read here.
 * 2. What will be replaced, moved or removed must be what the disk showed, and new names must be free.
 * 3. Directories are made, what was renamed or moved is, new content is renamed into its place.
 * 4. What is gone is removed, unless the FAT says that its clusters are in use: a guest may be moving it.
 *
 * Until 3 the host is as it was. A step of 3 that fails ends it there; every step is a single call of the system, and
 * what has not found its place stays what the guest wrote, so the next attempt goes on from there.
 */
import type { FileHandle } from 'node:fs/promises'
import { alignUp } from '@diskgraph/core/driver'
import { type Geometry, offsetOf, sectorSize } from '../disk/geometry.ts'
import { folded } from '../disk/names.ts'
import type { ReadDisk } from '../guest/chains.ts'
import type { GuestDirectory, GuestEntry, GuestFile, GuestVolume } from '../guest/tree.ts'
import type { Folder } from '../host/folder.ts'
import { HostChanges } from './host-changes.ts'
import { type Known, type KnownDirectory, KnownFile } from './known.ts'
import type { Overlay } from './overlay.ts'
import { Pairing } from './pairing.ts'

const chunk = 2 ** 20

/** What a commit works on. */
interface CommitSettings {
  readonly root: Folder
  readonly known: KnownDirectory
  readonly guest: GuestVolume
  readonly geometry: Geometry
  readonly overlay: Overlay
  readonly read: ReadDisk
  readonly warn: (message: string) => void
}

/** See the top of the file. Made for one attempt. */
export class Commit {
  readonly #settings: CommitSettings
  readonly #host: HostChanges
  readonly #pairing: Pairing
  /** How many files and directories the guest has. */
  readonly files: number
  readonly #changed = new Set<GuestFile>()
  readonly #staged = new Map<GuestFile, string>()
  /** The host may have changed: files that content was read from may be gone. */
  #hasBegun = false

  constructor(settings: CommitSettings) {
    this.#settings = settings
    this.#host = new HostChanges(settings.root, settings.known)
    this.#pairing = new Pairing(settings.guest.root, settings.known)
    let files = 0
    for (const { entry } of this.#entries(settings.guest.root)) {
      files++
      if (entry.kind === 'file' && this.#hasNewContent(entry)) this.#changed.add(entry)
    }
    this.files = files
  }

  /** Bytes of new and changed files. */
  get size(): number {
    let sum = 0
    for (const { size } of this.#changed) sum += size
    return sum
  }

  /** EBUSY and EEXIST for what the host holds otherwise than was seen; what the system says where it refuses. */
  async run(): Promise<void> {
    try {
      await this.#stage()
      await this.#check()
      await this.#apply()
    } finally {
      await this.#end()
    }
  }

  /** Whether a file of the host holds what the guest sees of it. */
  isCurrent(known: KnownFile): boolean {
    const entry = this.#pairing.entryOf(known)
    return entry !== undefined && !this.#staged.has(entry as GuestFile)
  }

  async #stage(): Promise<void> {
    for (const file of this.#changed) await this.#stageFile(file)
    await this.#keepLost()
  }

  async #check(): Promise<void> {
    const leaving = new Set(this.#gone())
    const arriving: { readonly directory: KnownDirectory; readonly name: string }[] = []
    for (const { entry, parent } of this.#entries(this.#settings.guest.root)) {
      const known = this.#pairing.of(entry)
      const isMoved = known === undefined || this.#isMoved(entry, known, parent)
      if (known !== undefined && isMoved) leaving.add(known)
      else if (known !== undefined && this.#staged.has(entry as GuestFile)) await this.#host.mustBeSame(known)
      const directory = this.#pairing.of(parent)
      if (isMoved && directory?.kind === 'directory') arriving.push({ directory, name: hostNameOf(entry) })
    }
    for (const known of leaving) await this.#host.mustBeSame(known)
    for (const { directory, name } of arriving) await this.#host.mustBeFree(directory, name, leaving)
  }

  async #apply(): Promise<void> {
    this.#hasBegun = true
    await this.#applyDirectory(this.#settings.guest.root, this.#settings.known)
    for (const known of this.#gone()) await this.#remove(known)
    await this.#host.sync()
  }

  /** Leaves nothing behind. What was staged and has no place is the guest's writing again. */
  async #end(): Promise<void> {
    for (const [file, name] of this.#staged) {
      if (this.#hasBegun) await this.#restore(file, name)
      await this.#host.dropStaged(name)
    }
    await this.#host.end()
  }

  /** Every file and directory with the one that it is in, those above first. */
  *#entries(directory: GuestDirectory): Generator<{ readonly entry: GuestEntry; readonly parent: GuestDirectory }> {
    for (const entry of directory.entries) {
      yield { entry, parent: directory }
      if (entry.kind === 'directory') yield* this.#entries(entry)
    }
  }

  #hasNewContent(file: GuestFile): boolean {
    const known = this.#pairing.of(file)
    if (known?.kind !== 'file' || known.size !== file.size || !areSame(known.runs, file.runs)) return true
    return [...this.#pieces(file)].some(({ offset, length }) => this.#settings.overlay.changes(offset, length))
  }

  /** Where the content of a file stands on the disk. */
  *#pieces({
    runs,
    size,
  }: GuestFile): Generator<{ readonly offset: number; readonly length: number; readonly at: number }> {
    const { geometry } = this.#settings
    let at = 0
    for (const { first, count } of runs) {
      const length = Math.min(count * geometry.clusterSectors * sectorSize, size - at)
      yield { offset: offsetOf(geometry, first), length, at }
      at += length
    }
  }

  async #stageFile(file: GuestFile): Promise<void> {
    const known = this.#pairing.of(file)
    const mode = known?.kind === 'file' ? await this.#host.modeOf(known) : undefined
    const { name, handle } = await this.#host.stage()
    this.#staged.set(file, name)
    try {
      const buf = new Uint8Array(chunk)
      for (const { offset, length, at } of this.#pieces(file)) {
        for (let done = 0; done < length; done += chunk) {
          const part = buf.subarray(0, Math.min(chunk, length - done))
          await this.#settings.read(offset + done, buf.subarray(0, alignUp(part.length, sectorSize)))
          await writeAll(handle, part, at + done)
        }
      }
      if (mode !== undefined) await handle.chmod(mode)
      const time = file.modified / 1000
      await handle.utimes(time, time)
      await handle.sync()
    } finally {
      await handle.close()
    }
  }

  /**
   * Content of files that are about to change, in clusters that are no file's any more and are not free: part of a file
   * that a guest is moving, say.
   */
  async #keepLost(): Promise<void> {
    const { guest, geometry, overlay, read } = this.#settings
    const buf = new Uint8Array(geometry.clusterSectors * sectorSize)
    for (const file of this.#staged.keys()) {
      const known = this.#pairing.of(file)
      if (known?.kind !== 'file') continue
      for (const { first, count } of known.runs) {
        for (let cluster = first; cluster < first + count; cluster++) {
          if (!guest.chains.isLost(cluster)) continue
          const offset = offsetOf(geometry, cluster)
          await read(offset, buf)
          await overlay.write(offset, buf)
        }
      }
    }
  }

  async #applyDirectory(guest: GuestDirectory, directory: KnownDirectory): Promise<void> {
    for (const entry of guest.entries) {
      const known = this.#pairing.of(entry)
      if (known === undefined || this.#isMoved(entry, known, guest))
        await this.#clear(directory, hostNameOf(entry), known)
      if (known !== undefined && this.#isMoved(entry, known, guest)) {
        await this.#host.move(known, directory, hostNameOf(entry))
      }
      if (entry.kind === 'directory') await this.#applyDirectory(entry, await this.#directoryOf(entry, directory))
      else await this.#applyFile(entry, directory)
    }
  }

  async #directoryOf(entry: GuestDirectory, parent: KnownDirectory): Promise<KnownDirectory> {
    const known = this.#pairing.of(entry)
    if (known?.kind === 'directory') {
      known.guestName = entry.name
      known.cluster = entry.cluster
      return known
    }
    const made = await this.#host.makeDirectory(parent, hostNameOf(entry), entry.name, entry.cluster)
    this.#pairing.made(entry, made)
    return made
  }

  async #applyFile(file: GuestFile, parent: KnownDirectory): Promise<void> {
    const paired = this.#pairing.of(file)
    const known = paired?.kind === 'file' ? paired : new KnownFile(parent, hostNameOf(file), file.name, file.cluster)
    const staged = this.#staged.get(file)
    if (staged !== undefined) {
      const identity = await this.#host.place(staged, parent, known.hostName)
      this.#staged.delete(file)
      known.hold(identity, file.size, file.runs)
      parent.children.add(known)
      this.#pairing.made(file, known)
      for (const { offset, length } of this.#pieces(file)) this.#settings.overlay.settle(offset, length)
    }
    known.guestName = file.name
    known.cluster = file.cluster
  }

  /** Whether a file or directory of the host gets another name or place. */
  #isMoved(entry: GuestEntry, known: Known, parent: GuestDirectory): boolean {
    if (known.parent !== this.#pairing.of(parent)) return true
    if (folded(entry.name) !== folded(known.guestName)) return true
    return entry.isExact && entry.name !== known.guestName
  }

  /** Makes room for a name which something has that is going elsewhere. */
  async #clear(directory: KnownDirectory, name: string, except: Known | undefined): Promise<void> {
    const there = [...directory.children].find(({ hostName }) => hostName === name)
    if (there !== undefined && there !== except) await this.#host.moveAside(there)
  }

  /** What is to be removed, what is in a directory before the directory. */
  #gone(): Known[] {
    return goneBelow(
      this.#settings.known,
      (known) => this.#pairing.entryOf(known) === undefined && !this.#isWaiting(known),
    )
  }

  /** Clusters that are in use, and nobody's, are somebody's soon. */
  #isWaiting({ cluster }: Known): boolean {
    return cluster !== 0 && this.#settings.guest.chains.isLost(cluster)
  }

  /** A directory in which the host has what the disk does not show stays there, and the guest sees it no more. */
  async #remove(known: Known): Promise<void> {
    try {
      await this.#host.remove(known)
    } catch (error) {
      const { code } = error as { code?: string }
      if (known.kind === 'file' || (code !== 'ENOTEMPTY' && code !== 'EEXIST')) throw error
      known.parent?.children.delete(known)
      this.#settings.warn(`'${known.path.join('/')}' is not removed: it holds what the disk does not show`)
    }
  }

  async #restore(file: GuestFile, name: string): Promise<void> {
    const handle = await this.#host.openStaged(name)
    try {
      const buf = new Uint8Array(chunk)
      for (const { offset, length, at } of this.#pieces(file)) {
        for (let done = 0; done < length; done += chunk) {
          const part = buf.subarray(0, alignUp(Math.min(chunk, length - done), sectorSize))
          part.fill(0)
          await handle.read(part, 0, Math.min(chunk, length - done), at + done)
          await this.#settings.overlay.write(offset + done, part)
        }
      }
    } finally {
      await handle.close()
    }
  }
}

/** Those for which `isGone` holds; a directory only if all that is in it goes, too. */
function goneBelow(directory: KnownDirectory, isGone: (known: Known) => boolean): Known[] {
  const gone: Known[] = []
  for (const child of directory.children) {
    const below = child.kind === 'directory' ? goneBelow(child, isGone) : []
    gone.push(...below)
    const isEmptied =
      child.kind === 'file' || below.filter(({ parent }) => parent === child).length === child.children.size
    if (isEmptied && isGone(child)) gone.push(child)
  }
  return gone
}

/** How a name of the guest is spelled on the host: one that is in large letters for want of others, in small ones, as QEMU does. */
function hostNameOf({ name, isExact }: GuestEntry): string {
  return isExact ? name : name.toLowerCase()
}

function areSame(a: GuestFile['runs'], b: GuestFile['runs']): boolean {
  return a.length === b.length && a.every(({ first, count }, i) => first === b[i]?.first && count === b[i]?.count)
}

async function writeAll(handle: FileHandle, buf: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < buf.length; ) {
    const { bytesWritten } = await handle.write(buf, done, buf.length - done, offset + done)
    done += bytesWritten
  }
}
