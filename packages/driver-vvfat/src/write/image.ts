import { BlockError, type BlockStatus, RangeLock, toBlockError } from '@diskgraph/core/driver'
import { clusterAt, firstCluster, type Geometry, sectorSize } from '../disk/geometry.ts'
import type { Chains } from '../guest/chains.ts'
import { readGuestVolume } from '../guest/tree.ts'
import type { HostFiles } from '../host/files.ts'
import type { Folder } from '../host/folder.ts'
import { VvfatImage } from '../image.ts'
import { type Span, SpanMap } from '../span-map.ts'
import type { Volume } from '../volume.ts'
import { Commit } from './commit.ts'
import { type KnownDirectory, knownBelow, knownRoot, spansOf } from './known.ts'
import type { Overlay } from './overlay.ts'

/** Beyond these, a change waits for a flush: to look for it with each write would take too long. */
const mostAtOnce = { clusters: 2 ** 17, files: 1000, bytes: 2 ** 20 }

/**
 * A directory as a disk that can be written. What a guest writes is kept in the overlay until its file system is sound, and
 * then brought into the directory: by a flush, when the disk is closed, and after a small write at once.
 */
export class WritableVvfatImage extends VvfatImage {
  readonly #geometry: Geometry
  readonly #boot: Uint8Array
  readonly #known: KnownDirectory
  readonly #overlay: Overlay
  readonly #warn: (message: string) => void
  /** Shared by requests; a commit has it alone. */
  readonly #lock = new RangeLock()
  #isChanged = false
  /** Changes are larger than what is brought into the directory without a flush. */
  #isWaiting = false
  /** Clusters that files and directories had when they were looked at last; undefined: they were not. */
  #chains: Chains | undefined

  constructor(root: Folder, files: HostFiles, volume: Volume, overlay: Overlay, warn: (message: string) => void) {
    super(root, files, volume)
    const { geometry } = volume
    this.#geometry = geometry
    this.#boot = volume.boot
    this.#known = knownRoot(volume.root, geometry.clusterSectors * sectorSize)
    this.#overlay = overlay
    this.#warn = warn
  }

  override async read(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    const hold = await this.#lock.acquire(0, this.size, false)
    try {
      await this.#read(offset, buf, flags, signal)
    } finally {
      this.#lock.release(hold)
    }
  }

  async write(offset: number, buf: Uint8Array): Promise<void> {
    const hold = await this.#lock.acquire(0, this.size, false)
    try {
      this.#isChanged = true
      await this.#overlay.write(offset, buf)
    } finally {
      this.#lock.release(hold)
    }
    // What a guest has half done is no error of its writes; a flush tells what stands against it.
    if (this.#mayEndChange(offset, buf.length)) await this.#bringIn(mostAtOnce.bytes).catch(() => undefined)
  }

  async flush(): Promise<void> {
    await this.#bringIn(Number.POSITIVE_INFINITY)
  }

  /** Whether a write may have been the last of a small change: it is no content of a file that is not there yet. */
  #mayEndChange(offset: number, length: number): boolean {
    const { clusters } = this.#geometry
    if (this.#isWaiting || clusters > mostAtOnce.clusters) return false
    const first = clusterAt(this.#geometry, offset)
    if (first < firstCluster || this.#chains === undefined) return true
    const last = clusterAt(this.#geometry, offset + length - 1)
    for (let cluster = first; cluster <= last; cluster++) if (this.#chains.isUsed(cluster)) return true
    return false
  }

  async #bringIn(mostBytes: number): Promise<void> {
    const hold = await this.#lock.acquire(0, this.size, true)
    try {
      if (this.#isChanged) await this.#commit(mostBytes)
    } finally {
      this.#lock.release(hold)
    }
  }

  override async blockStatus(offset: number, length: number): Promise<BlockStatus> {
    const own = this.#overlay.at(offset, length)
    if (own.written) return { length: own.length, data: true, zero: false, allocated: true }
    return super.blockStatus(offset, own.length)
  }

  override async close(): Promise<void> {
    try {
      await this.flush()
    } finally {
      await this.#overlay.close()
      await super.close()
    }
  }

  async #read(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    for (let done = 0; done < buf.length; ) {
      const { length, written } = this.#overlay.at(offset + done, buf.length - done)
      const part = buf.subarray(done, done + length)
      if (written) await this.#overlay.read(offset + done, part)
      else await super.read(offset + done, part, flags, signal)
      done += length
    }
  }

  async #commit(mostBytes: number): Promise<void> {
    const read = (offset: number, buf: Uint8Array): Promise<void> => this.#read(offset, buf, 0)
    try {
      const guest = await readGuestVolume(this.#geometry, this.#boot, read)
      this.#chains = guest.chains
      const settings = { root: this.root, known: this.#known, guest, geometry: this.#geometry, overlay: this.#overlay }
      const commit = new Commit({ ...settings, read, warn: this.#warn })
      this.#isWaiting = commit.size > mostBytes || commit.files > mostAtOnce.files
      if (this.#isWaiting && mostBytes !== Number.POSITIVE_INFINITY) return
      try {
        await commit.run()
      } finally {
        await this.files.closeAll()
        this.#showContent(commit)
      }
      this.#isChanged = false
      this.#isWaiting = commit.files > mostAtOnce.files
    } catch (error) {
      const { code, message } = toBlockError(error)
      throw new BlockError(code, `cannot bring what was written into '${this.root.path}': ${message}`, {
        cause: error,
        hint: 'what was written is kept while the disk is open, and tried again with the next flush',
      })
    }
  }

  /** Takes content from where it is after a commit. Files that the guest sees come before those it may be moving. */
  #showContent(commit: Commit): void {
    const owned = new Uint8Array(this.#geometry.clusters + firstCluster)
    const spans: Span[] = []
    const files = [...knownBelow(this.#known)].filter((known) => known.kind === 'file')
    for (const file of files.filter((one) => commit.isCurrent(one))) {
      spans.push(...spansOf(file, this.#geometry, () => true))
      for (const { first, count } of file.runs) owned.fill(1, first, first + count)
    }
    for (const file of files.filter((one) => !commit.isCurrent(one))) {
      spans.push(...spansOf(file, this.#geometry, (cluster) => owned[cluster] === 0))
    }
    this.content = new SpanMap(spans)
  }
}
