/**
 * Allocating clusters before they are written. Their data must read as zeroes: space behind the end of the file
 * does by itself, space inside it is zeroed.
 */
import { alignDown, isZero, type Preallocation, throwIfAborted } from '@diskgraph/core/driver'
import { Kind } from '../data/image.ts'
import { readBacking } from '../data/read.ts'
import { entrySize } from '../header/layout.ts'
import { ensureTable, type MappedImage } from './active-tables.ts'
import { linkClusters } from './allocation.ts'
import { kindOf } from './map.ts'

const zeroesSize = 1024 * 1024

/** What is preallocated, and how. */
interface PreallocatedRange {
  /** In the guest; may lie behind the disk. In the cluster that `start` cuts, what stands before it stays. */
  readonly start: number
  readonly end: number
  readonly mode: Preallocation
}

/** Allocates all unallocated clusters of a guest range. Runs drained. */
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
