/**
 * Changes of L2 entries that need no data: discarding and zeroing.
 *
 * In version 3 discarded clusters read as zeroes, also above a backing file; a full discard makes them unallocated
 * instead, so that the backing file shows again.
 */

import { type Allocation, type ClusterChanges, Kind, newRun, Yielder, type ZeroSettings } from '@diskgraph/clusters'
import { alignDown, alignUp, BlockError, Flag, isAligned, throwIfAborted } from '@diskgraph/core/driver'
import { allSubclusters, ExtendedEntry, type Geometry, hiCompressed, loZero } from '../header/layout.ts'
import type { FreeReason } from '../refcounts/frees.ts'
import { ensureTable, freeEntry, type MappedImage } from './active-tables.ts'
import { isPlaced, kindOf } from './entries.ts'
import { setSubclusters, touchedSubclusters } from './subclusters.ts'

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
  await zeroRawData(image, start, end, signal)
  const { geometry } = image
  const zero = version >= 3 && !settings.full
  const keep = image.options.discardNoUnref && zero
  const change = (view: DataView, at: number): boolean | 'freed' => {
    const hi = view.getUint32(at)
    const lo = view.getUint32(at + 4)
    const compressed = (hi & hiCompressed) !== 0
    const holds = compressed || isPlaced(geometry, hi, lo)
    if (!settings.full && !backing && !holds) return false
    const kept = keep && !compressed && holds
    if (!setEntry(geometry, view, at, { keep: kept, zero })) return false
    if (!kept) freeEntry(image, hi, lo, settings.reason)
    return !kept && isPlaced(geometry, hi, lo) ? 'freed' : true
  }
  const discards = image.options.passDiscard[settings.reason]
  await changeEntries(image, start, end, { createTables: backing && !settings.full, change, discards }, signal)
}

/** Makes an entry that of a cluster that is zero, or unallocated, and may keep its host cluster; whether it was another. */
function setEntry(
  { extended }: Geometry,
  view: DataView,
  at: number,
  { keep, zero }: { readonly keep: boolean; readonly zero: boolean },
): boolean {
  const hi = view.getUint32(at)
  const lo = view.getUint32(at + 4)
  const nextHi = keep ? hi : 0
  const nextLo = ((keep ? lo : 0) | (zero && !extended ? loZero : 0)) >>> 0
  const zeroes = zero ? allSubclusters : 0
  const bitmap =
    extended &&
    (view.getUint32(at + ExtendedEntry.zero) !== zeroes || view.getUint32(at + ExtendedEntry.allocated) !== 0)
  if (nextHi === hi && nextLo === lo && !bitmap) return false
  view.setUint32(at, nextHi)
  view.setUint32(at + 4, nextLo)
  if (extended) setSubclusters(view, at, zeroes, 0)
  return true
}

/** An external data file that has to read as the disk does gets its zeroes before the mapping says so. */
async function zeroRawData(
  { rawData, dataFile, size }: MappedImage,
  start: number,
  end: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const last = Math.min(end, size)
  if (rawData && last > start) await dataFile?.writeZeroes(start, last - start, Flag.MayUnmap, signal)
}

/**
 * Makes whole clusters zero, or subclusters. With `onlyEmpty`, those that hold data by now are left alone, and the
 * result is false; so it is where parts of compressed clusters are left.
 */
async function flagClusters(
  image: MappedImage,
  start: number,
  end: number,
  settings: ZeroSettings,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const { onlyEmpty } = settings
  const { geometry } = image
  // What is zeroed of the data file is what the request says, not what was empty a moment ago.
  if (onlyEmpty && image.rawData) return false
  const mayUnmap = settings.mayUnmap && !image.options.discardNoUnref
  if (geometry.extended && (await cutsCompressed(image, start, end))) return false
  let complete = true
  const leave = (): boolean => {
    complete = false
    return false
  }
  const change = (view: DataView, at: number, guest: number): boolean | 'freed' => {
    const hi = view.getUint32(at)
    const lo = view.getUint32(at + 4)
    const compressed = (hi & hiCompressed) !== 0
    const placed = isPlaced(geometry, hi, lo)
    if (geometry.extended) {
      const touched = touchedSubclusters(geometry, guest, start, end)
      const allocated = view.getUint32(at + ExtendedEntry.allocated)
      if (onlyEmpty && (compressed || (allocated & touched) !== 0)) return leave()
      if (touched !== allSubclusters) {
        if (compressed) return leave()
        const zero = view.getUint32(at + ExtendedEntry.zero)
        if ((~zero & touched) === 0) return false
        setSubclusters(view, at, zero | touched, allocated & ~touched)
        return true
      }
    } else if (onlyEmpty && (compressed || kindOf(geometry, hi, lo) === Kind.normal)) return leave()
    const keep = !mayUnmap && placed
    if (!setEntry(geometry, view, at, { keep, zero: true })) return false
    if (!keep) freeEntry(image, hi, lo, 'request')
    return !keep && placed ? 'freed' : true
  }
  await zeroRawData(image, start, end, signal)
  const discards = image.options.passDiscard.request
  await changeEntries(image, start, end, { createTables: true, change, discards }, signal)
  return complete
}

/** A part of an external data file that nobody needs. */
interface FileRange {
  readonly offset: number
  length: number
}

/** Whether a range of subclusters begins or ends inside a compressed cluster, of which no part can be made zero. */
async function cutsCompressed({ map, geometry }: MappedImage, start: number, end: number): Promise<boolean> {
  const run = newRun()
  for (const edge of [start, end]) {
    if (isAligned(edge, geometry.clusterSize)) continue
    await map.find(alignDown(edge, geometry.clusterSize), 1, run)
    if (run.kind === Kind.compressed) return true
  }
  return false
}

const unitsPerSlice = 50

/** What happens to the entries of a range. */
interface EntryChange {
  /** Whether ranges without an L2 table need one: else they are left out. */
  readonly createTables: boolean
  /** Whether the storage drops what is freed. */
  readonly discards: boolean
  /**
   * Changes the entry of the cluster at `guest`, at byte `at` of `view`; whether it did, and freed its host cluster. Runs
   * under the mutex, in one stretch per slice.
   */
  change(view: DataView, at: number, guest: number): boolean | 'freed'
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
    const dropped: FileRange[] = []
    let dropping: Allocation | undefined
    try {
      if (inFlight.isClear(at, limit)) {
        const from = at
        at = await changeSlice(image, at, limit, change, dropped)
        // Who writes there meanwhile waits, or the discard would hit new data.
        if (dropped.length > 0) dropping = inFlight.begin(from, at)
      }
    } finally {
      mutex.unlock()
    }
    if (dropping === undefined) continue
    try {
      for (const { offset, length } of dropped) await image.dataFile?.discard(offset, length, signal)
    } catch {
      // A storage that cannot discard keeps the data, which is no harm.
    } finally {
      inFlight.end(dropping)
    }
  }
}

/**
 * Changes the entries of one slice; returns the guest offset behind it. What the storage is to drop of an external data
 * file is added to `dropped`.
 */
async function changeSlice(
  image: MappedImage,
  start: number,
  end: number,
  change: EntryChange,
  dropped: FileRange[],
): Promise<number> {
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
  const count = Math.min(place.rest, Math.ceil((end - alignDown(start, geometry.clusterSize)) / geometry.clusterSize))
  let changed = false
  const { clusterSize, l2EntrySize, external } = geometry
  const first = alignDown(start, clusterSize)
  for (let i = 0; i < count; i++) {
    const guest = first + i * clusterSize
    const done = change.change(slice.view, place.at + i * l2EntrySize, guest)
    if (done !== false) changed = true
    if (done === 'freed' && external && change.discards && !image.rawData) {
      const length = Math.min(clusterSize, Math.max(0, image.size - guest))
      const last = dropped.at(-1)
      if (last !== undefined && last.offset + last.length === guest) last.length += length
      else if (length > 0) dropped.push({ offset: guest, length })
    }
  }
  if (changed) store.l2.markDirty(slice)
  return first + count * clusterSize
}
