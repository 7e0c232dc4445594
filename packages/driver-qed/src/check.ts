/**
 * Checking and repairing. Tables are read from the file piece by piece, so that an image may be of any size; what is
 * repaired is written there, and read anew.
 */
import { BlockError, type CheckOptions, type ChildHandle, divUp, type ImageCheck } from '@diskgraph/core/driver'
import type { TwoLevelMap } from '@diskgraph/sparse'
import { type Clusters, zeroEntry } from './clusters.ts'
import { entrySize, type Header } from './header.ts'

/** What a check needs of an image. */
export interface CheckedImage {
  readonly file: ChildHandle
  readonly clusters: Clusters
  readonly map: TwoLevelMap
  readonly header: Header
  markChecked(): Promise<void>
  flush(): Promise<void>
}

const pieceSize = 65536
/** Clusters are counted in groups of so many bits. */
const groupBits = 512
/** So many groups make about 100 MiB; a sound image of 64 TiB with clusters of 64 KiB has 2 million. */
const mostGroups = 2 ** 21

/** Which clusters of the file something points to. */
class UsedClusters {
  readonly #groups = new Map<number, Uint8Array>()
  count = 0
  /** Behind the last one. */
  end = 0

  /** Enters a cluster; false when it is there already. */
  add(cluster: number): boolean {
    const number = Math.floor(cluster / groupBits)
    let group = this.#groups.get(number)
    if (group === undefined) {
      if (this.#groups.size === mostGroups) {
        throw new BlockError('EFBIG', 'the clusters of the image are scattered too widely to be checked')
      }
      group = new Uint8Array(groupBits / 8)
      this.#groups.set(number, group)
    }
    const bit = cluster % groupBits
    const mask = 1 << (bit & 7)
    if (((group[bit >> 3] as number) & mask) !== 0) return false
    group[bit >> 3] = (group[bit >> 3] as number) | mask
    this.count++
    this.end = Math.max(this.end, cluster + 1)
    return true
  }
}

/** An entry that is wrong, and where in the file it stands. */
interface Fault {
  readonly at: number
  /** The entry becomes 0; else it shares its cluster, and gets a copy. */
  readonly remove: boolean
  readonly host: number
}

/** Compares the tables with each other and with the file. */
export async function checkImage(image: CheckedImage, options: CheckOptions): Promise<ImageCheck> {
  await image.flush()
  const checker = new Checker(image, options)
  await checker.walk()
  return checker.finish()
}

class Checker {
  readonly #image: CheckedImage
  readonly #options: CheckOptions
  readonly #used = new UsedClusters()
  #corruptions = 0
  #fixed = 0
  #allocated = 0
  #fragmented = 0
  #last = 0

  constructor(image: CheckedImage, options: CheckOptions) {
    this.#image = image
    this.#options = options
  }

  async walk(): Promise<void> {
    const { clusters, header } = this.#image
    const { clusterSize, tableBytes, headerClusters } = header
    for (let i = 0; i < headerClusters; i++) this.#used.add(i)
    this.#use(clusters.rootOffset, tableBytes)
    const span = (tableBytes / entrySize) * clusterSize
    const count = divUp(header.size, span)
    for await (const { at, host } of this.#entries(clusters.rootOffset, count * entrySize)) {
      this.#options.onProgress?.((at - clusters.rootOffset) / entrySize, count)
      if (!clusters.isTable(host) || !this.#use(host, tableBytes)) {
        await this.#fault({ at, host, remove: true }, `the table at ${host} is outside of the file, or has another use`)
      } else {
        await this.#walkTable(host)
      }
    }
  }

  async #walkTable(table: number): Promise<void> {
    const { clusters, header } = this.#image
    for await (const { at, host } of this.#entries(table, header.tableBytes)) {
      if (host === zeroEntry) continue
      if (!clusters.isCluster(host)) {
        await this.#fault({ at, host, remove: true }, `the cluster at ${host} is outside of the file`)
        continue
      }
      if (!this.#use(host, header.clusterSize)) {
        await this.#fault({ at, host, remove: false }, `the cluster at ${host} is used twice`)
      }
      this.#allocated++
      if (this.#last !== 0 && host !== this.#last + header.clusterSize) this.#fragmented++
      this.#last = host
    }
  }

  /** The entries of a table that are not 0. */
  async *#entries(table: number, bytes: number): AsyncGenerator<{ readonly at: number; readonly host: number }> {
    const { file } = this.#image
    for (let offset = 0; offset < bytes; offset += pieceSize) {
      this.#options.signal?.throwIfAborted()
      const piece = new Uint8Array(Math.min(pieceSize, bytes - offset))
      await file.read(table + offset, piece)
      const view = new DataView(piece.buffer)
      for (let i = 0; i < piece.length; i += entrySize) {
        const host = view.getUint32(i + 4, true) * 2 ** 32 + view.getUint32(i, true)
        if (host !== 0) yield { at: table + offset + i, host }
      }
    }
  }

  /** Enters all clusters of a range; false, and none of them, when the first is in use. */
  #use(host: number, bytes: number): boolean {
    const { clusterSize } = this.#image.header
    const first = host / clusterSize
    for (let i = 0; i < bytes / clusterSize; i++) if (!this.#used.add(first + i)) return false
    return true
  }

  async #fault(fault: Fault, text: string): Promise<void> {
    const repairs = this.#options.repair === 'all'
    this.#options.onFinding?.(repairs ? 'repair' : 'error', `${repairs ? 'Repairing' : 'ERROR'}: ${text}`)
    if (!repairs) {
      this.#corruptions++
      return
    }
    const entry = new Uint8Array(entrySize)
    if (!fault.remove) new DataView(entry.buffer).setBigUint64(0, BigInt(await this.#copy(fault.host)), true)
    await this.#image.file.write(fault.at, entry)
    this.#fixed++
  }

  /** Copies a cluster that is used twice; returns where the copy stands. */
  async #copy(host: number): Promise<number> {
    const { clusters, file, header } = this.#image
    const copy = clusters.take(1).host
    for (let at = 0; at < header.clusterSize; at += pieceSize) {
      const piece = new Uint8Array(Math.min(pieceSize, header.clusterSize - at))
      await file.read(host + at, piece)
      await file.write(copy + at, piece)
    }
    this.#use(copy, header.clusterSize)
    await file.flush()
    return copy
  }

  /** Counts leaks; those behind the last cluster in use can be cut off. */
  async finish(): Promise<ImageCheck> {
    const { clusters, file, header, map } = this.#image
    const { clusterSize, size } = header
    const total = Math.floor(file.size / clusterSize)
    let leaks = Math.max(0, total - this.#used.count)
    let leaksFixed = 0
    const tail = total - this.#used.end
    if (leaks > 0 && tail > 0 && (this.#options.repair === 'all' || this.#options.repair === 'leaks')) {
      this.#options.onFinding?.('repair', `Repairing: ${tail} clusters behind the last one are cut off`)
      await file.truncate(this.#used.end * clusterSize)
      clusters.restart()
      leaksFixed = tail
      leaks -= tail
    }
    if (this.#fixed > 0) map.forget()
    if (this.#corruptions === 0 && this.#options.repair !== undefined && this.#options.repair !== 'none') {
      await this.#image.markChecked()
    }
    return {
      checkErrors: 0,
      corruptions: this.#corruptions,
      corruptionsFixed: this.#fixed,
      leaks,
      leaksFixed,
      totalClusters: divUp(size, clusterSize),
      allocatedClusters: this.#allocated,
      fragmentedClusters: this.#fragmented,
    }
  }
}
