/**
 * Changes of L2 entries that need no data: discarding and zeroing.
 *
 * In version 3 discarded clusters read as zeroes, also above a backing file; a full discard makes them unallocated
 * instead, so that the backing file shows again.
 */

import { type ClusterChanges, Kind, Yielder, type ZeroSettings } from '@diskgraph/clusters'
import { alignDown, alignUp, BlockError, throwIfAborted } from '@diskgraph/core/driver'
import { entrySize, loZero } from '../header/layout.ts'
import type { FreeReason } from '../refcounts/frees.ts'
import { ensureTable, freeEntry, type MappedImage } from './active-tables.ts'
import { kindOf } from './map.ts'

/** For the functions that move data. */
export class EntryChanges implements ClusterChanges {
  readonly canFree = true
  private readonly image: MappedImage

  constructor(image: MappedImage) {
    this.image = image
  }

  get canZero(): boolean {
    return this.image.header.value.version >= 3
  }

  zero(start: number, end: number, settings: ZeroSettings, signal: AbortSignal | undefined): Promise<boolean> {
    return flagClusters(this.image, start, end, settings, signal)
  }

  discard(offset: number, length: number, signal: AbortSignal | undefined): Promise<void> {
    return discardRange(this.image, offset, length, { full: false, reason: 'request' }, signal)
  }
}

/** How a range is discarded. */
interface DiscardSettings {
  /** The clusters become unallocated rather than zero. */
  readonly full: boolean
  readonly reason: FreeReason
}

/** Discards the whole clusters in a guest range; its end counts as whole at the end of the disk. */
export async function discardRange(
  image: MappedImage,
  offset: number,
  length: number,
  settings: DiscardSettings,
  signal?: AbortSignal,
): Promise<void> {
  image.checkUsable()
  const { clusterSize } = image.geometry
  const backing = image.backing() !== undefined
  const { version } = image.header.value
  if (version < 3 && backing && !settings.full) {
    throw new BlockError('ENOTSUP', 'a version 2 image cannot discard: the backing file would show')
  }
  const start = alignUp(offset, clusterSize)
  const end =
    offset + length >= image.size ? alignUp(offset + length, clusterSize) : alignDown(offset + length, clusterSize)
  if (end <= start) return
  const zero = version >= 3 && !settings.full ? loZero : 0
  const keep = image.options.discardNoUnref && !settings.full
  const change = (view: DataView, at: number): boolean => {
    const hi = view.getUint32(at)
    const lo = view.getUint32(at + 4)
    const kind = kindOf(hi, lo)
    const holds = kind === Kind.normal || kind === Kind.zeroAllocated || kind === Kind.compressed
    if (!settings.full && !backing && !holds) return false
    const kept = keep && zero !== 0 && kind !== Kind.compressed && holds
    const nextHi = kept ? hi : 0
    const nextLo = kept ? (lo | loZero) >>> 0 : zero
    if (nextHi === hi && nextLo === lo) return false
    view.setUint32(at, nextHi)
    view.setUint32(at + 4, nextLo)
    if (!kept) freeEntry(image, hi, lo, settings.reason)
    return true
  }
  await changeEntries(image, start, end, { createTables: backing && !settings.full, change }, signal)
}

/**
 * Sets the zero flag of whole clusters. With `onlyEmpty`, clusters that hold data by now are left alone, and the
 * result is false.
 */
async function flagClusters(
  image: MappedImage,
  start: number,
  end: number,
  settings: ZeroSettings,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const { onlyEmpty } = settings
  const mayUnmap = settings.mayUnmap && !image.options.discardNoUnref
  let complete = true
  const change = (view: DataView, at: number): boolean => {
    const hi = view.getUint32(at)
    const lo = view.getUint32(at + 4)
    const kind = kindOf(hi, lo)
    if (onlyEmpty && (kind === Kind.normal || kind === Kind.compressed)) {
      complete = false
      return false
    }
    const keep = !mayUnmap && (kind === Kind.normal || kind === Kind.zeroAllocated)
    const nextHi = keep ? hi : 0
    const nextLo = keep ? (lo | loZero) >>> 0 : loZero
    if (nextHi === hi && nextLo === lo) return false
    view.setUint32(at, nextHi)
    view.setUint32(at + 4, nextLo)
    if (!keep) freeEntry(image, hi, lo, 'request')
    return true
  }
  await changeEntries(image, start, end, { createTables: true, change }, signal)
  return complete
}

const unitsPerSlice = 50

/** What happens to the entries of a range. */
interface EntryChange {
  /** Whether ranges without an L2 table need one: else they are left out. */
  readonly createTables: boolean
  /** Changes the entry at byte `at` of `view`; whether it did. Runs under the mutex, in one stretch per slice. */
  change(view: DataView, at: number): boolean
}

/**
 * Applies `change` to all entries for the whole clusters from `start` to `end`, slice by slice. Waits for
 * allocations on their way in the range. The mutex is free between two slices.
 */
async function changeEntries(
  image: MappedImage,
  start: number,
  end: number,
  change: EntryChange,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { mutex, inFlight } = image
  let yielder: Yielder | undefined
  for (let at = start; at < end; ) {
    throwIfAborted(signal)
    if (at > start) {
      yielder ??= new Yielder(signal)
      const turn = yielder.step(unitsPerSlice)
      if (turn !== undefined) await turn
    }
    const limit = inFlight.clearUntil(at, end)
    if (limit === at) {
      await inFlight.wait(at)
      continue
    }
    if (image.frees.crowded) await image.flushFrees()
    const wait = mutex.lock()
    if (wait !== undefined) await wait
    try {
      if (inFlight.isClear(at, limit)) at = await changeSlice(image, at, limit, change)
    } finally {
      mutex.unlock()
    }
  }
}

/** Changes the entries of one slice; returns the guest offset behind it. */
async function changeSlice(image: MappedImage, start: number, end: number, change: EntryChange): Promise<number> {
  image.checkUsable()
  const { geometry, map, store } = image
  const l1Index = map.l1Index(start)
  if (!change.createTables && (l1Index >= store.l1.entries || store.l1.offsetAt(l1Index) === 0)) {
    return Math.min(end, map.next(start))
  }
  if (store.l2.crowded) await store.writeMapping()
  await ensureTable(image, l1Index)
  const place = map.place(start)
  while (store.l2.peekWritable(place.slice) === undefined) await store.l2.loadWritable(place.slice)
  const slice = store.l2.peekWritable(place.slice)!
  const count = Math.min(place.rest, Math.ceil((end - start) / geometry.clusterSize))
  let changed = false
  for (let i = 0; i < count; i++) {
    if (change.change(slice.view, place.at + i * entrySize)) changed = true
  }
  if (changed) store.l2.markDirty(slice)
  return start + count * geometry.clusterSize
}
