/** Host clusters for guest data: taken, linked into the L2 tables, or given back; and all of a range at once. */

import { type Allocations, Kind, type NewClusters, newRun, readBacking } from '@diskgraph/clusters'
import { alignDown, isZero, type Preallocation, throwIfAborted } from '@diskgraph/core/driver'
import { highHalf, lowHalf } from '../bytes.ts'
import { entrySize, hiCopied } from '../header/layout.ts'
import { ensureTable, freeEntry, type MappedImage } from './active-tables.ts'
import { kindOf } from './map.ts'

/** Bytes of zeroes that are written at once. */
const zeroesSize = 1024 * 1024

/** For the functions that move data. */
export class ClusterAllocations implements Allocations {
  private readonly image: MappedImage

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

  async link({ allocation, host, clusters, reused }: NewClusters): Promise<void> {
    const { image } = this
    const wait = image.mutex.lock()
    if (wait !== undefined) await wait
    try {
      await linkClusters(image, allocation.start, host, clusters, !reused)
    } finally {
      image.mutex.unlock()
    }
  }

  async giveBack({ host, clusters, reused }: NewClusters): Promise<void> {
    const { image } = this
    if (!reused) await image.exclusively(() => image.release(host / image.geometry.clusterSize, clusters))
  }
}

async function takeClusters(image: MappedImage, offset: number, length: number): Promise<NewClusters | undefined> {
  image.checkUsable()
  const { geometry, allocator, inFlight, map, store } = image
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
    return { allocation, offset, length: reusable, host: run.host - (offset - start), clusters, reused: true }
  }
  const wanted = Math.min(place.rest, Math.ceil((offset + length) / clusterSize) - first)
  const clusters = countToAllocate(store.l2.peek(place.slice)!.view, place.at, wanted)
  let host = allocator.tryAllocate(clusters)
  if (host < 0) host = await allocator.allocate(clusters)
  const allocation = inFlight.begin(first * clusterSize, (first + clusters) * clusterSize)
  const covered = Math.min(length, allocation.end - offset)
  return { allocation, offset, length: covered, host, clusters, reused: false }
}

/** How many entries in a row have no clusters that could be written in place; at least 1. */
function countToAllocate(view: DataView, at: number, wanted: number): number {
  for (let i = 1; i < wanted; i++) {
    const hi = view.getUint32(at + i * entrySize)
    if ((hi & hiCopied) === 0) continue
    const kind = kindOf(hi, view.getUint32(at + i * entrySize + 4))
    if (kind === Kind.normal || kind === Kind.zeroAllocated) return i
  }
  return wanted
}

/**
 * Points the L2 entries from guest offset `start` on at clusters from `host` on, and frees what they pointed to before,
 * unless it is these clusters. They stand in one slice. Under the mutex; all or nothing.
 */
async function linkClusters(
  image: MappedImage,
  start: number,
  host: number,
  clusters: number,
  freeOld: boolean,
): Promise<void> {
  const { store, geometry } = image
  image.checkUsable()
  await image.prepareLinking()
  if (store.l2.crowded) await store.writeMapping()
  const place = image.map.place(start)
  while (store.l2.peek(place.slice) === undefined) await store.l2.load(place.slice)
  const slice = store.l2.peek(place.slice)!
  const { view } = slice
  for (let i = 0; i < clusters; i++) {
    const at = place.at + i * entrySize
    const hi = view.getUint32(at)
    const lo = view.getUint32(at + 4)
    if (freeOld && (hi !== 0 || lo !== 0)) freeEntry(image, hi, lo, 'other')
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
  const { clusterSize } = image.geometry
  const { start, end, mode } = range
  const fileEnd = image.file.size
  for (let at = alignDown(start, clusterSize); at < end; ) {
    throwIfAborted(signal)
    at = await image.exclusively(async () => {
      const run = await takeRun(image, at, end)
      const length = run.count * clusterSize
      if (run.host === 0) return at + length
      try {
        await prepareData(image, run.host, length, mode, fileEnd)
        if (at < start) await copyHead(image, at, start, run.host)
        // Nothing may be mapped behind the end of the file.
        if (run.host + length > image.file.size) await image.file.truncate(run.host + length, { exact: false })
        await linkClusters(image, at, run.host, run.count, true)
      } catch (error) {
        await image.release(run.host / clusterSize, run.count)
        throw error
      }
      return at + length
    })
  }
}

/** Copies what the disk shows between `at` and `start` out of the backing file. */
async function copyHead(image: MappedImage, at: number, start: number, host: number): Promise<void> {
  if (image.backing() === undefined) return
  const head = new Uint8Array(start - at)
  await readBacking(image, at, head, undefined)
  if (!isZero(head)) await image.file.write(host, head)
}

interface PreallocatedRun {
  /** 0: these clusters need nothing. */
  readonly host: number
  readonly count: number
}

/** Takes host clusters for the unallocated entries at `at`, as far as one slice goes; or skips allocated ones. */
async function takeRun(image: MappedImage, at: number, end: number): Promise<PreallocatedRun> {
  const { geometry, map, store, allocator } = image
  if (store.l2.crowded) await store.writeMapping()
  await ensureTable(image, map.l1Index(at))
  const place = map.place(at)
  while (store.l2.peekWritable(place.slice) === undefined) await store.l2.loadWritable(place.slice)
  const { view } = store.l2.peek(place.slice)!
  const limit = Math.min(place.rest, Math.ceil((end - at) / geometry.clusterSize))
  const wanted = isUnallocated(view, place.at)
  let count = 1
  while (count < limit && isUnallocated(view, place.at + count * entrySize) === wanted) count++
  return { host: wanted ? await allocator.allocate(count) : 0, count }
}

function isUnallocated(view: DataView, at: number): boolean {
  return kindOf(view.getUint32(at), view.getUint32(at + 4)) === Kind.unallocated
}

/** Makes a host range read as zeroes, and allocates it in the file as `mode` asks. */
async function prepareData(
  image: MappedImage,
  host: number,
  length: number,
  mode: Preallocation,
  fileEnd: number,
): Promise<void> {
  const { file } = image
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
