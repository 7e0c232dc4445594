/** Host clusters for guest data: taken, linked into the L2 tables, or given back; and all of a range at once. */

import { type Allocation, type Allocations, Kind, type NewClusters, newRun, readBacking } from '@diskgraph/clusters'
import { alignDown, alignUp, errorCodeOf, isZero, type Preallocation, throwIfAborted } from '@diskgraph/core/driver'
import { highHalf, lowHalf } from '../bytes.ts'
import { ExtendedEntry, type Geometry, hiCompressed, hiCopied } from '../header/layout.ts'
import { ensureTable, freeEntry, type MappedImage } from './active-tables.ts'
import { isPlaced, kindOf } from './entries.ts'
import { endToCopy, firstToCopy, isDamaged, setSubclusters, touchedSubclusters } from './subclusters.ts'

/** Bytes of zeroes that are written at once. */
const zeroesSize = 1024 * 1024

/** For the functions that move data. */
export class ClusterAllocations implements Allocations {
  private readonly image: MappedImage
  /** Behind the furthest host cluster that was linked. */
  private end = 0

  constructor(image: MappedImage) {
    this.image = image
  }

  async begin(offset: number, length: number): Promise<NewClusters | undefined> {
    const { image } = this
    if (image.frees.crowded) await image.flushFrees()
    const wait = image.mutex.lock()
    if (wait !== undefined) await wait
    try {
      return await takeClusters(image, offset, length)
    } finally {
      image.mutex.unlock()
    }
  }

  async link(taken: NewClusters): Promise<void> {
    const { image } = this
    const wait = image.mutex.lock()
    if (wait !== undefined) await wait
    try {
      await linkClusters(image, { ...taken, guest: taken.allocation.start })
      this.end = Math.max(this.end, taken.host + taken.clusters * image.geometry.clusterSize)
    } finally {
      image.mutex.unlock()
    }
  }

  async giveBack({ host, clusters, reused }: NewClusters): Promise<void> {
    const { image } = this
    if (!reused) await image.exclusively(() => releaseClusters(image, host, clusters))
  }

  /** Zeroes at the end of the last cluster may not have been written: the file gets its whole size, as one that is not cut. */
  async completeLast(): Promise<void> {
    const { file, geometry } = this.image
    const begun = file.size < this.end && file.size > this.end - geometry.clusterSize
    if (!begun || geometry.external) return
    try {
      await file.truncate(this.end, { exact: false })
    } catch (error) {
      // There is storage that grows by writes alone.
      if (errorCodeOf(error) !== 'ENOTSUP') throw error
      await file.write(this.end - 1, new Uint8Array(1))
    }
  }
}

async function takeClusters(image: MappedImage, offset: number, length: number): Promise<NewClusters | undefined> {
  image.checkUsable()
  const { geometry, inFlight, map, store } = image
  const { clusterSize } = geometry
  if (!inFlight.isClear(offset, offset + length)) return undefined
  const run = newRun()
  await map.find(offset, length, run)
  const reusable = map.peekReusable(offset, length)
  if (run.kind === Kind.normal && run.copied && reusable === 0) return undefined
  await ensureTable(image, map.l1Index(offset))
  const place = map.place(offset)
  while (store.l2.peekWritable(place.slice) === undefined) await store.l2.loadWritable(place.slice)
  const first = Math.floor(offset / clusterSize)
  if (reusable > 0) {
    const start = first * clusterSize
    const clusters = Math.ceil((offset + reusable) / clusterSize) - first
    const allocation = inFlight.begin(start, start + clusters * clusterSize)
    const host = run.host - (offset - start)
    return { allocation, offset, length: reusable, host, clusters, reused: true, ...around(image, offset, reusable) }
  }
  const wanted = Math.min(place.rest, Math.ceil((offset + length) / clusterSize) - first)
  const clusters = countToAllocate(
    geometry,
    store.l2.peek(place.slice)!.view,
    { ...place, guest: first * clusterSize },
    wanted,
  )
  const host = await allocateData(image, first * clusterSize, clusters)
  const allocation = inFlight.begin(first * clusterSize, (first + clusters) * clusterSize)
  const covered = Math.min(length, allocation.end - offset)
  const taken = {
    allocation,
    offset,
    length: covered,
    host,
    clusters,
    reused: false,
    ...around(image, offset, covered),
  }
  if (!geometry.extended) return taken
  while (store.l2.peek(place.slice) === undefined) await store.l2.load(place.slice)
  return { ...taken, ...aroundWithOld(geometry, store.l2.peek(place.slice)!.view, place.at, taken) }
}

/** Host clusters for guest clusters from `guest` on: in an external data file they have their places. */
async function allocateData({ geometry, allocator }: MappedImage, guest: number, clusters: number): Promise<number> {
  if (geometry.external) return guest
  const host = allocator.tryAllocate(clusters)
  return host < 0 ? allocator.allocate(clusters) : host
}

async function releaseClusters(image: MappedImage, host: number, clusters: number): Promise<void> {
  const { clusterSize, external } = image.geometry
  if (!external) await image.release(host / clusterSize, clusters)
}

/** What has to be written whole around a request; an external data file does not grow behind the end of the disk. */
function around({ geometry, size }: MappedImage, offset: number, length: number): { start: number; end: number } {
  const end = alignUp(offset + length, geometry.zeroUnit)
  const last = geometry.external ? Math.min(end, Math.max(size, offset + length)) : end
  return { start: alignDown(offset, geometry.zeroUnit), end: last }
}

/** The same of new clusters with subclusters: what their old ones hold is copied, in one piece with the request. */
function aroundWithOld(
  geometry: Geometry,
  view: DataView,
  at: number,
  { allocation, start, end }: { readonly allocation: Allocation; readonly start: number; readonly end: number },
): { start: number; end: number } {
  const { clusterSize, zeroUnit, l2EntrySize } = geometry
  const first = firstToCopy(geometry, view, at, (start - allocation.start) / zeroUnit)
  const lastCluster = allocation.end - clusterSize
  const lastAt = at + ((lastCluster - allocation.start) / clusterSize) * l2EntrySize
  const last = endToCopy(geometry, view, lastAt, Math.ceil((end - lastCluster) / zeroUnit))
  const behind = lastCluster + last * zeroUnit
  return { start: allocation.start + first * zeroUnit, end: geometry.external ? end : behind }
}

/** How many entries in a row have no clusters that could be written in place; at least 1. */
function countToAllocate(
  geometry: Geometry,
  view: DataView,
  { at, guest }: { readonly at: number; readonly guest: number },
  wanted: number,
): number {
  const { l2EntrySize, clusterSize, extended } = geometry
  for (let i = 1; i < wanted; i++) {
    const hi = view.getUint32(at + i * l2EntrySize)
    if (
      extended &&
      (hi & hiCompressed) === 0 &&
      isDamaged(geometry, view, at + i * l2EntrySize, guest + i * clusterSize)
    ) {
      return i
    }
    if ((hi & hiCopied) !== 0 && isPlaced(geometry, hi, view.getUint32(at + i * l2EntrySize + 4))) return i
  }
  return wanted
}

/** Host clusters that L2 entries are to point to. */
interface Link {
  /** Guest offset of the first. */
  readonly guest: number
  readonly host: number
  readonly clusters: number
  /** The entries point to them already. */
  readonly reused: boolean
  /** The guest range that was written, where subclusters count. */
  readonly start?: number
  readonly end?: number
}

/**
 * Points L2 entries at clusters, and frees what they pointed to before, unless it is these clusters. They stand in one
 * slice. Under the mutex; all or nothing.
 */
async function linkClusters(
  image: MappedImage,
  { guest, host, clusters, reused, start = 0, end = 0 }: Link,
): Promise<void> {
  const { store, geometry } = image
  image.checkUsable()
  await image.prepareLinking()
  if (store.l2.crowded) await store.writeMapping()
  const place = image.map.place(guest)
  while (store.l2.peek(place.slice) === undefined) await store.l2.load(place.slice)
  const slice = store.l2.peek(place.slice)!
  const { view } = slice
  for (let i = 0; i < clusters; i++) {
    const at = place.at + i * geometry.l2EntrySize
    const hi = view.getUint32(at)
    const lo = view.getUint32(at + 4)
    if (!reused && (hi !== 0 || lo !== 0)) freeEntry(image, hi, lo, 'other')
    if (geometry.extended) {
      const written = touchedSubclusters(geometry, guest + i * geometry.clusterSize, start, end)
      const kept = reused ? view.getUint32(at + ExtendedEntry.allocated) : 0
      setSubclusters(view, at, view.getUint32(at + ExtendedEntry.zero) & ~written, kept | written)
    }
    const offset = host + i * geometry.clusterSize
    view.setUint32(at, (highHalf(offset) | hiCopied) >>> 0)
    view.setUint32(at + 4, lowHalf(offset))
  }
  store.l2.markDirty(slice)
  store.noteData()
}

/** What is preallocated, and how. */
interface PreallocatedRange {
  /** In the guest; may lie behind the disk. In the cluster that `start` cuts, what stands before it stays. */
  readonly start: number
  readonly end: number
  readonly mode: Preallocation
}

/**
 * Allocates all unallocated clusters of a guest range before they are written. Their data must read as zeroes: space
 * behind the end of the file does by itself, space inside it is zeroed. Runs drained.
 */
export async function preallocate(image: MappedImage, range: PreallocatedRange, signal?: AbortSignal): Promise<void> {
  const { clusterSize, external } = image.geometry
  const { dataFile: data = image.file } = image
  const { start, end, mode } = range
  const fileEnd = data.size
  for (let at = alignDown(start, clusterSize); at < end; ) {
    throwIfAborted(signal)
    at = await image.exclusively(async () => {
      const run = await takeRun(image, at, end)
      const length = run.count * clusterSize
      if (run.host < 0) return at + length
      try {
        await prepareData(image, run.host, external ? Math.min(length, end - at) : length, mode, fileEnd)
        if (at < start) await copyHead(image, at, start, run.host)
        // Nothing may be mapped behind the end of the file.
        if (!external && run.host + length > data.size) await data.truncate(run.host + length, { exact: false })
        await linkClusters(image, { guest: at, host: run.host, clusters: run.count, reused: false })
      } catch (error) {
        await releaseClusters(image, run.host, run.count)
        throw error
      }
      return at + length
    })
  }
}

/** Copies what the disk shows between `at` and `start` out of the backing file. */
async function copyHead(image: MappedImage, at: number, start: number, host: number): Promise<void> {
  // Subclusters that are not there go on to show it.
  if (image.backing() === undefined || image.geometry.extended) return
  const head = new Uint8Array(start - at)
  await readBacking(image, at, head, undefined)
  const { dataFile = image.file } = image
  if (!isZero(head)) await dataFile.write(host, head)
}

interface PreallocatedRun {
  /** -1: these clusters need nothing. */
  readonly host: number
  readonly count: number
}

/** Takes host clusters for the unallocated entries at `at`, as far as one slice goes; or skips allocated ones. */
async function takeRun(image: MappedImage, at: number, end: number): Promise<PreallocatedRun> {
  const { geometry, map, store } = image
  if (store.l2.crowded) await store.writeMapping()
  await ensureTable(image, map.l1Index(at))
  const place = map.place(at)
  while (store.l2.peekWritable(place.slice) === undefined) await store.l2.loadWritable(place.slice)
  const { view } = store.l2.peek(place.slice)!
  const limit = Math.min(place.rest, Math.ceil((end - at) / geometry.clusterSize))
  const wanted = isUnallocated(geometry, view, place.at)
  let count = 1
  while (count < limit && isUnallocated(geometry, view, place.at + count * geometry.l2EntrySize) === wanted) count++
  return { host: wanted ? await allocateData(image, at, count) : -1, count }
}

function isUnallocated(geometry: Geometry, view: DataView, at: number): boolean {
  if (kindOf(geometry, view.getUint32(at), view.getUint32(at + 4)) !== Kind.unallocated) return false
  return !geometry.extended || view.getUint32(at + ExtendedEntry.zero) === 0
}

/** Makes a host range read as zeroes, and allocates it in the file as `mode` asks. */
async function prepareData(
  image: MappedImage,
  host: number,
  length: number,
  mode: Preallocation,
  fileEnd: number,
): Promise<void> {
  const { dataFile: file = image.file } = image
  if (image.rawData && host < fileEnd) {
    // What stands there already is what the disk is to show.
    const there = Math.min(length, fileEnd - host)
    if (there < length) await prepareData(image, host + there, length - there, mode, fileEnd)
    return
  }
  const refusal = image.guardWrite(host, length)
  if (refusal !== undefined) await refusal
  if (mode === 'full') {
    const zeroes = new Uint8Array(Math.min(length, zeroesSize))
    for (let done = 0; done < length; done += zeroes.length) {
      await file.write(host + done, zeroes.subarray(0, Math.min(zeroes.length, length - done)))
    }
  } else if (mode === 'falloc') {
    await file.writeZeroes(host, length)
  } else if (host < fileEnd || !file.zeroInit) {
    await file.writeZeroes(host, Math.min(length, file.zeroInit ? fileEnd - host : length))
  }
}
