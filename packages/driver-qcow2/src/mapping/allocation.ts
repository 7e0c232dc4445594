/** Host clusters for guest data: taken, linked into the L2 tables, or given back. */

import { highHalf, lowHalf } from '../bytes.ts'
import type { Allocations, NewClusters } from '../data/image.ts'
import { Kind, newRun } from '../data/image.ts'
import { entrySize, hiCopied } from '../header/layout.ts'
import { ensureTable, freeEntry, type MappedImage } from './active-tables.ts'
import { kindOf } from './map.ts'

/** See the top of this file. */
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
  if (run.kind === Kind.normal && run.copied) return undefined
  await ensureTable(image, map.l1Index(offset))
  const place = map.place(offset)
  while (store.l2.peekWritable(place.slice) === undefined) await store.l2.loadWritable(place.slice)
  const first = Math.floor(offset / clusterSize)
  if (run.kind === Kind.zeroAllocated && run.copied) {
    const start = first * clusterSize
    const clusters = Math.ceil((offset + run.length) / clusterSize) - first
    const allocation = inFlight.begin(start, start + clusters * clusterSize)
    return { allocation, offset, length: run.length, host: run.host - (offset - start), clusters, reused: true }
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
export async function linkClusters(
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
