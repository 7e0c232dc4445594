/**
 * An open image: a descriptor, and one extent behind the other. Requests that one extent answers are passed on; others
 * are cut where extents meet.
 */

import { TaskPool } from '@diskgraph/clusters'
import {
  BlockError,
  type BlockStatus,
  type CheckOptions,
  type ChildHandle,
  type DriverInfo,
  Flag,
  type ImageCheck,
  type Limits,
  type OpenImage,
  type Prepared,
  type RandomSource,
  type ReopenChange,
} from '@diskgraph/core/driver'
import { type Descriptor, withCid } from './descriptor.ts'
import type { Extent } from './extent.ts'
import { SparseExtent } from './sparse-extent.ts'

/** Where the descriptor stands. */
export interface DescriptorPlace {
  readonly file: ChildHandle
  readonly offset: number
  /** Bytes that there are for it; infinite in a file of its own. */
  readonly room: number
}

/** An extent, and what it is called in the descriptor. */
export interface PlacedExtent {
  readonly image: Extent
  /** Bytes of the disk before it. */
  readonly start: number
  readonly type: string
}

/** What an image is made from. */
interface VmdkParts {
  readonly descriptor: Descriptor
  readonly place: DescriptorPlace
  /** In their order; at least one. */
  readonly extents: readonly PlacedExtent[]
  readonly random: RandomSource
}

type Part = (extent: Extent, offset: number, from: number, length: number) => Promise<void>

/** See the top of this file. */
export class VmdkImage implements OpenImage {
  readonly writeFlags = Flag.Unchanged | Flag.Compressed
  readonly zeroFlags = Flag.MayUnmap | Flag.NoFallback | Flag.Unchanged
  readonly size: number
  readonly limits: Partial<Limits>
  readonly #parts: VmdkParts
  readonly #extents: readonly PlacedExtent[]
  readonly #clusterSize: number | undefined
  #descriptor: Descriptor
  /** The content has been given another CID since the image was opened. */
  #changed = false
  #changing: Promise<void> | undefined

  constructor(parts: VmdkParts) {
    const { extents, descriptor } = parts
    this.#parts = parts
    this.#extents = extents
    this.#descriptor = descriptor
    this.size = extents.reduce((sum, { image }) => sum + image.size, 0)
    const sizes = new Set(extents.map(({ image }) => image.about.clusterSize))
    this.#clusterSize = sizes.size === 1 ? extents[0]!.image.about.clusterSize : undefined
    this.limits = this.#clusterSize === undefined ? {} : { optimalTransfer: this.#clusterSize }
  }

  read(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    if (this.#extents.length === 1) return this.#extents[0]!.image.read(offset, buf, flags, signal)
    return this.#split(offset, buf.length, (extent, at, from, length) =>
      extent.read(at, buf.subarray(from, from + length), flags, signal),
    )
  }

  write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    if (this.#mustChange(flags)) return this.#change().then(() => this.write(offset, buf, flags, signal))
    if (this.#extents.length === 1) return this.#extents[0]!.image.write(offset, buf, flags, signal)
    return this.#split(offset, buf.length, (extent, at, from, length) =>
      extent.write(at, buf.subarray(from, from + length), flags, signal),
    )
  }

  writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    if (this.#mustChange(flags)) return this.#change().then(() => this.writeZeroes(offset, length, flags, signal))
    return this.#split(offset, length, (extent, at, _, part) => extent.writeZeroes(at, part, flags, signal))
  }

  discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    if (this.#mustChange(0)) return this.#change().then(() => this.discard(offset, length, signal))
    return this.#split(offset, length, (extent, at, _, part) => extent.discard(at, part, signal))
  }

  blockStatus(offset: number, length: number, signal?: AbortSignal): Promise<BlockStatus> {
    const { image, start } = this.#extents[this.#find(offset)]!
    return image.blockStatus(offset - start, Math.min(length, start + image.size - offset), signal)
  }

  async flush(): Promise<void> {
    for (const { image } of this.#extents) await image.flush()
  }

  async close(): Promise<void> {
    const failures: unknown[] = []
    for (const { image } of this.#extents) await image.close().catch((error) => failures.push(error))
    if (failures.length > 0) throw failures[0]
  }

  async reopen(change: ReopenChange): Promise<Prepared> {
    const ready: Prepared[] = []
    for (const { image } of this.#extents) ready.push(await image.reopen(change))
    return {
      commit: () => {
        for (const one of ready) one.commit()
      },
      abort: () => {
        for (const one of ready) one.abort()
      },
    }
  }

  info(): Promise<DriverInfo> {
    const { cid, parentCid, createType, parentName } = this.#descriptor
    const extents = this.#extents.map(({ image, type }) => ({
      ...(image.about.compressed ? { compressed: true } : {}),
      virtualSize: image.size,
      filename: image.file.filename,
      ...(image.about.clusterSize === undefined ? {} : { clusterSize: image.about.clusterSize }),
      format: type,
    }))
    return Promise.resolve({
      dirty: false,
      ...(this.#clusterSize === undefined ? {} : { clusterSize: this.#clusterSize }),
      ...(extents.every(({ compressed }) => compressed) ? { needsCompressedWrites: true } : {}),
      ...(parentName === undefined ? {} : { backingFilename: parentName, backingFormat: 'vmdk' }),
      specific: { type: 'vmdk', data: { cid, parentCid, createType, extents } },
    })
  }

  async check(options: CheckOptions): Promise<ImageCheck> {
    let [corruptions, totalClusters, allocatedClusters] = [0, 0, 0]
    for (const { image } of this.#extents) {
      if (!(image instanceof SparseExtent)) continue
      const found = await image.check(options)
      corruptions += found.corruptions
      totalClusters += found.totalClusters!
      allocatedClusters += found.allocatedClusters!
    }
    return {
      checkErrors: 0,
      corruptions,
      leaks: 0,
      corruptionsFixed: 0,
      leaksFixed: 0,
      ...(totalClusters === 0 ? {} : { totalClusters, allocatedClusters }),
    }
  }

  #mustChange(flags: number): boolean {
    return !this.#changed && (flags & Flag.Unchanged) === 0
  }

  /** Gives the content another CID, before it changes: images that stand on it must not take it for what it was. */
  #change(): Promise<void> {
    this.#changing ??= this.#writeCid().finally(() => {
      this.#changing = undefined
    })
    return this.#changing
  }

  async #writeCid(): Promise<void> {
    const { place, random } = this.#parts
    const cid = Math.floor(random() * 0xfffffffe)
    const { bytes: before } = this.#descriptor
    const bytes = withCid(before, cid)
    if (bytes.length > place.room) throw new BlockError('ENOSPC', 'the descriptor of the image has no room for its CID')
    // What is shorter than before is filled up, for a descriptor ends with its file or at a zero.
    const padded = new Uint8Array(Math.max(bytes.length, before.length)).fill(place.room === Infinity ? 0x0a : 0)
    padded.set(bytes)
    await place.file.write(place.offset, padded)
    this.#descriptor = { ...this.#descriptor, bytes, cid }
    this.#changed = true
  }

  /** The number of the extent with `offset`. */
  #find(offset: number): number {
    let low = 0
    let high = this.#extents.length - 1
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if (this.#extents[middle]!.start <= offset) low = middle
      else high = middle - 1
    }
    return low
  }

  /** Runs `part` on each extent of a range, with the place in it, where in the range it begins, and its length. */
  #split(offset: number, length: number, part: Part): Promise<void> {
    let number = this.#find(offset)
    const { image, start } = this.#extents[number]!
    if (offset + length <= start + image.size) return part(image, offset - start, 0, length)
    const pool = new TaskPool()
    for (let from = 0; from < length && !pool.failed; number++) {
      const { image, start } = this.#extents[number]!
      const at = offset + from - start
      const own = Math.min(length - from, image.size - at)
      pool.add(part(image, at, from, own))
      from += own
    }
    return pool.finish()
  }
}
