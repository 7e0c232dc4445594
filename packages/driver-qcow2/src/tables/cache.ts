/**
 * A write-back cache of metadata: slices of L2 tables, or refcount blocks.
 *
 * Slices hold the bytes as they stand on disk and are found by their offset in the file. Two rules keep it simple:
 * - A dirty slice never leaves the cache by itself. `MetadataStore` writes all dirty slices together and in the
 *   order that a crash needs; whoever makes slices dirty calls it when `crowded` says so. Loading therefore never
 *   waits for a write, and readers need no lock: they evict clean slices only (second-chance clock), and where all
 *   are dirty the cache grows for a while.
 *   A slice that was just read stays until it has been looked at, or tasks that load more than fits would keep
 *   evicting each other's.
 * - A {@link Slice} must not be held across an `await`: it may be evicted and its buffer reused. Code that has
 *   waited peeks again: `while ((slice = cache.peek(offset)) === undefined) await cache.load(offset)`.
 *
 * Only the holder of the image's mutex changes slices, so nothing changes while `writeDirty` writes them.
 *
 * A slice is changed only when it is `writable`, so that writing it later cannot fail for want of storage: it was written
 * by this cache, or {@link TableCache.loadWritable} has found that it does not stand in a hole of the file.
 */

import { forEachLimited } from '@diskgraph/clusters'
import { type ChildHandle, done } from '@diskgraph/core/driver'
import { viewOf } from '../bytes.ts'
import { allocateHoles } from './holes.ts'

/** A piece of a table in memory. Valid until the next `await`. */
export interface Slice {
  /** Not in a hole of the file: it may be changed. */
  writable: boolean
  readonly offset: number
  readonly data: Uint8Array
  readonly view: DataView
  dirty: boolean
  used: boolean
  /** Read, and not looked at yet. */
  fresh: boolean
  /** Place in the clock. */
  place: number
}

/** A slice on its way into memory. */
interface Load {
  settled: Promise<void>
}

/** What a cache asks of its owner. */
interface CacheHooks {
  /** Event of blkdebug before a slice is read. */
  readonly loadEvent?: string
  /** Event before a slice is written. */
  readonly updateEvent: string
  /** Rejects when a write of this range would damage other metadata; undefined: go on. */
  guard(offset: number, length: number): Promise<void> | undefined
}

const writesAtOnce = 16
const spareBuffers = 16
/** Slices above the capacity that may wait to be looked at. */
const mostFresh = 256
const nothing: Slice = {
  offset: -1,
  data: new Uint8Array(0),
  view: new DataView(new ArrayBuffer(0)),
  dirty: false,
  used: false,
  fresh: false,
  place: -1,
  writable: false,
}

/** See the top of this file. */
export class TableCache {
  sliceSize: number
  private readonly file: ChildHandle
  private readonly hooks: CacheHooks
  /** How many slices it holds, apart from dirty ones. */
  capacity: number
  private readonly slices = new Map<number, Slice>()
  private readonly clock: Slice[] = []
  private readonly loading = new Map<number, Load>()
  private readonly spare: Uint8Array[] = []
  private hand = 0
  private last: Slice = nothing
  private dirtySlices = 0

  constructor(file: ChildHandle, sliceSize: number, capacity: number, hooks: CacheHooks) {
    this.file = file
    this.sliceSize = sliceSize
    this.capacity = Math.max(2, capacity)
    this.hooks = hooks
  }

  /** Whether there is something to write. */
  get dirty(): boolean {
    return this.dirtySlices > 0
  }

  /** Whether so many slices are dirty that they are to be written before more are made so. */
  get crowded(): boolean {
    return this.dirtySlices * 2 >= this.capacity
  }

  /** How many bytes the cached slices take. */
  get bytes(): number {
    return this.clock.length * this.sliceSize
  }

  /** The slice at `offset` (a multiple of the slice size), if it is in memory. */
  peek(offset: number): Slice | undefined {
    const { last } = this
    if (last.offset === offset) return last
    const slice = this.slices.get(offset)
    if (slice === undefined) return undefined
    slice.used = true
    slice.fresh = false
    this.last = slice
    return slice
  }

  /** Reads the slice at `offset`. Bytes past the end of the file are zero. Peek again afterwards, in a loop. */
  load(offset: number): Promise<void> {
    const running = this.loading.get(offset)
    if (running !== undefined) return running.settled
    const load: Load = { settled: done }
    load.settled = this.fetch(offset, load)
    this.loading.set(offset, load)
    return load.settled
  }

  /** The slice at `offset`, if it is in memory and may be changed. */
  peekWritable(offset: number): Slice | undefined {
    const slice = this.peek(offset)
    return slice?.writable === true ? slice : undefined
  }

  /** Reads the slice at `offset`, or allocates the hole that it stands in; loop until it is there and writable. Under the mutex. */
  async loadWritable(offset: number): Promise<void> {
    const slice = this.slices.get(offset)
    if (slice === undefined) return this.load(offset)
    if (slice.writable) return
    // What is dirty must not be written before its time.
    if (!slice.dirty) await allocateHoles(this.file, offset, slice.data, this.hooks.guard)
    slice.writable = true
  }

  /** A clean slice that stands in the file with these bytes, which the cache owns from now on. */
  adopt(offset: number, data: Uint8Array): void {
    this.drop(offset)
    this.insert(offset, data, false).writable = true
  }

  /** A slice of zeroes, dirty, in place of whatever stands at `offset`. */
  create(offset: number): Slice {
    this.drop(offset)
    const data = this.spare.pop()
    if (data === undefined) return this.insert(offset, new Uint8Array(this.sliceSize), true)
    data.fill(0)
    return this.insert(offset, data, true)
  }

  /** Notes that the slice was changed. */
  markDirty(slice: Slice): void {
    if (slice.dirty) return
    slice.dirty = true
    this.dirtySlices++
  }

  /** Forgets the slices in a range without writing them: their table is gone. */
  dropRange(offset: number, length: number): void {
    for (let at = offset; at < offset + length; at += this.sliceSize) this.drop(at)
  }

  /** Forgets everything that is not dirty. */
  invalidate(): void {
    this.loading.clear()
    for (const slice of [...this.clock]) if (!slice.dirty) this.remove(slice)
  }

  /** Forgets everything, for slices of another size. Nothing is dirty. */
  reshape(sliceSize: number): void {
    if (sliceSize === this.sliceSize) return
    this.invalidate()
    this.spare.length = 0
    this.sliceSize = sliceSize
  }

  /** Gives back the memory of slices that nobody used since the last call. */
  clean(): void {
    for (const slice of [...this.clock]) {
      if (slice.used || slice.dirty) slice.used = false
      else this.remove(slice)
    }
    this.last = nothing
    this.spare.length = 0
  }

  /** Writes all dirty slices. Those that fail stay dirty. */
  async writeDirty(): Promise<void> {
    if (this.dirtySlices === 0) return
    const dirty = this.clock.filter((slice) => slice.dirty).sort((a, b) => a.offset - b.offset)
    await forEachLimited(dirty, writesAtOnce, (slice) => this.writeSlice(slice))
  }

  private async writeSlice(slice: Slice): Promise<void> {
    const refusal = this.hooks.guard(slice.offset, this.sliceSize)
    if (refusal !== undefined) await refusal
    const held = this.file.debugEvent(this.hooks.updateEvent)
    if (held !== undefined) await held
    await this.file.write(slice.offset, slice.data)
    slice.writable = true
    slice.dirty = false
    this.dirtySlices--
  }

  private async fetch(offset: number, load: Load): Promise<void> {
    const data = this.spare.pop() ?? new Uint8Array(this.sliceSize)
    try {
      const { loadEvent } = this.hooks
      const held = loadEvent === undefined ? undefined : this.file.debugEvent(loadEvent)
      if (held !== undefined) await held
      await this.file.read(offset, data)
      // Whoever made or dropped this slice meanwhile knows better than the disk.
      if (this.loading.get(offset) === load) this.insert(offset, data, false)
      else this.spare.push(data)
    } finally {
      if (this.loading.get(offset) === load) this.loading.delete(offset)
    }
  }

  private insert(offset: number, data: Uint8Array, dirty: boolean): Slice {
    while (this.clock.length >= this.capacity) {
      const victim = this.findVictim()
      if (victim === undefined) break
      this.remove(victim)
    }
    const place = this.clock.length
    const slice: Slice = { offset, data, view: viewOf(data), dirty, used: true, fresh: !dirty, place, writable: dirty }
    this.clock.push(slice)
    this.slices.set(offset, slice)
    if (dirty) this.dirtySlices++
    return slice
  }

  private findVictim(): Slice | undefined {
    const { clock } = this
    for (let step = 2 * clock.length; step > 0; step--) {
      if (this.hand >= clock.length) this.hand = 0
      const slice = clock[this.hand++]!
      if (slice.dirty || (slice.fresh && clock.length < this.capacity + mostFresh)) continue
      if (!slice.used) return slice
      slice.used = false
    }
    return undefined
  }

  private drop(offset: number): void {
    this.loading.delete(offset)
    const slice = this.slices.get(offset)
    if (slice !== undefined) this.remove(slice)
  }

  private remove(slice: Slice): void {
    if (slice.dirty) this.dirtySlices--
    this.slices.delete(slice.offset)
    const moved = this.clock.pop()!
    if (moved !== slice) {
      this.clock[slice.place] = moved
      moved.place = slice.place
    }
    if (this.last === slice) this.last = nothing
    if (this.spare.length < spareBuffers) this.spare.push(slice.data)
  }
}
