/**
 * Writing compressed clusters. The clusters of a request are deflated at the same time on the thread pool; what
 * becomes shorter is packed behind each other, in one write as far as the space is contiguous, and linked together.
 * What does not compress is written as it is.
 */

import { type Allocation, Kind, newRun, TaskPool, wholeCluster, writeRange } from '@diskgraph/clusters'
import { alignUp, BlockError, throwIfAborted } from '@diskgraph/core/driver'
import { lowHalf } from '../bytes.ts'
import { compressedEntryHigh } from '../header/layout.ts'
import { ensureTable, freeEntry } from '../mapping/active-tables.ts'
import { setSubclusters } from '../mapping/subclusters.ts'
import type { CompressedImage } from './read.ts'

/** So many clusters are deflated, and so many bytes wait to be written, at a time. */
const deflatesAtOnce = 16

/** A deflated cluster on its way to the disk. */
interface Packed {
  readonly guest: number
  readonly data: Uint8Array
  offset: number
}

/**
 * Writes whole clusters compressed; the last may end with the disk. EINVAL for parts of clusters; EIO where data
 * stands uncompressed already.
 */
export async function writeCompressed(
  image: CompressedImage,
  offset: number,
  buf: Uint8Array,
  signal?: AbortSignal,
): Promise<void> {
  image.checkUsable()
  const { clusterSize, external } = image.geometry
  if (external) throw new BlockError('ENOTSUP', 'an image with an external data file has no compressed clusters')
  const end = offset + buf.length
  if (alignUp(offset, clusterSize) !== offset || (alignUp(end, clusterSize) !== end && end !== image.size)) {
    throw new BlockError('EINVAL', `compressed writes need whole clusters of ${clusterSize} bytes`)
  }
  const step = deflatesAtOnce * clusterSize
  for (let at = 0; at < buf.length; at += step) {
    throwIfAborted(signal)
    await writeBatch(image, offset + at, buf.subarray(at, Math.min(buf.length, at + step)), signal)
  }
}

async function writeBatch(
  image: CompressedImage,
  offset: number,
  buf: Uint8Array,
  signal?: AbortSignal,
): Promise<void> {
  await checkUnwritten(image, offset, buf.length)
  const { clusterSize } = image.geometry
  const pool = new TaskPool()
  const packed: Packed[] = []
  for (let at = 0; at < buf.length; at += clusterSize) {
    const data = buf.subarray(at, Math.min(buf.length, at + clusterSize))
    pool.add(deflateOne(image, offset + at, data, packed, signal))
  }
  await pool.finish()
  if (packed.length === 0) return
  packed.sort((a, b) => a.guest - b.guest)
  for (let at = 0; at < packed.length; ) at = await storeRun(image, packed, at, signal)
}

/** Deflates a cluster into `packed`; writes it plainly if that does not make it shorter. */
async function deflateOne(
  image: CompressedImage,
  guest: number,
  data: Uint8Array,
  packed: Packed[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const { clusterSize } = image.geometry
  const deflated = await image.codec.deflate(wholeCluster(data, clusterSize), clusterSize)
  if (deflated === undefined) await writeRange(image, guest, data, signal)
  else packed.push({ guest, data: deflated, offset: 0 })
}

/** Compressed data never replaces other data. */
async function checkUnwritten(image: CompressedImage, offset: number, length: number): Promise<void> {
  const run = newRun()
  for (let at = offset; at < offset + length; at += run.length) {
    await image.map.find(at, offset + length - at, run)
    if (run.kind === Kind.normal || run.kind === Kind.zeroAllocated || run.kind === Kind.compressed) {
      throw new BlockError('EIO', 'a compressed write cannot replace a cluster that has been written')
    }
  }
}

/** Stores deflated clusters from `from` on, as far as one L2 slice goes; returns the index behind them. */
async function storeRun(image: CompressedImage, packed: Packed[], from: number, signal?: AbortSignal): Promise<number> {
  const { inFlight, geometry } = image
  const first = packed[from]!.guest
  const { rest } = await exclusivePlace(image, first)
  let to = from
  while (to < packed.length && packed[to]!.guest < first + rest * geometry.clusterSize) to++
  const end = packed[to - 1]!.guest + geometry.clusterSize
  const allocation = await claim(image, first, end)
  const run = packed.slice(from, to)
  let stored = 0
  try {
    await image.exclusively(async () => {
      for (const piece of run) {
        piece.offset = await image.allocator.allocateBytes(piece.data.byteLength)
        stored++
      }
    })
    await writeRuns(image, run, signal)
    await image.exclusively(() => linkCompressed(image, run))
  } catch (error) {
    await image.exclusively(() => giveBackBytes(image, run.slice(0, stored)))
    throw error
  } finally {
    inFlight.end(allocation)
  }
  return to
}

async function exclusivePlace(image: CompressedImage, guest: number): Promise<{ rest: number }> {
  if (image.frees.crowded) await image.flushFrees()
  return image.exclusively(async () => {
    image.checkUsable()
    await ensureTable(image, image.map.l1Index(guest))
    const place = image.map.place(guest)
    while (image.store.l2.peekWritable(place.slice) === undefined) await image.store.l2.loadWritable(place.slice)
    return place
  })
}

/** Enters a guest range in `inFlight` when nobody else is in it. */
async function claim(image: CompressedImage, start: number, end: number): Promise<Allocation> {
  const { inFlight } = image
  for (;;) {
    const allocation = await image.exclusively(async () => {
      return inFlight.isClear(start, end) ? inFlight.begin(start, end) : undefined
    })
    if (allocation !== undefined) return allocation
    await inFlight.wait(start, end)
  }
}

/** Writes deflated clusters, those that stand behind each other together. */
async function writeRuns(image: CompressedImage, run: readonly Packed[], signal?: AbortSignal): Promise<void> {
  const pool = new TaskPool()
  for (let i = 0; i < run.length; ) {
    let end = i + 1
    let length = run[i]!.data.byteLength
    while (end < run.length && run[end]!.offset === run[i]!.offset + length) length += run[end++]!.data.byteLength
    pool.add(writeTogether(image, run.slice(i, end), length, signal))
    i = end
  }
  return pool.finish()
}

async function writeTogether(
  image: CompressedImage,
  pieces: readonly Packed[],
  length: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { offset } = pieces[0]!
  const refusal = image.guardWrite(offset, length)
  if (refusal !== undefined) await refusal
  const held = image.file.debugEvent('write_compressed')
  if (held !== undefined) await held
  let data = pieces[0]!.data
  if (pieces.length > 1) {
    data = new Uint8Array(length)
    for (const piece of pieces) data.set(piece.data, piece.offset - offset)
  }
  await image.file.write(offset, data, 0, signal)
}

/** Points the L2 entries at the stored data. Under the mutex; all or nothing. */
async function linkCompressed(image: CompressedImage, run: readonly Packed[]): Promise<void> {
  const { store, geometry } = image
  image.checkUsable()
  await image.prepareLinking()
  if (store.l2.crowded) await store.writeMapping()
  const held = image.file.debugEvent('l2_update_compressed')
  if (held !== undefined) await held
  const place = image.map.place(run[0]!.guest)
  while (store.l2.peek(place.slice) === undefined) await store.l2.load(place.slice)
  const slice = store.l2.peek(place.slice)!
  for (const { guest, data, offset } of run) {
    const at = place.at + ((guest - run[0]!.guest) / geometry.clusterSize) * geometry.l2EntrySize
    const hi = slice.view.getUint32(at)
    const lo = slice.view.getUint32(at + 4)
    if (hi !== 0 || lo !== 0) freeEntry(image, hi, lo, 'other')
    slice.view.setUint32(at, compressedEntryHigh(geometry, offset, data.byteLength))
    slice.view.setUint32(at + 4, lowHalf(offset))
    if (geometry.extended) setSubclusters(slice.view, at, 0, 0)
  }
  store.l2.markDirty(slice)
  store.noteData()
}

/** Gives back the references that deflated clusters hold on their host clusters. */
async function giveBackBytes(image: CompressedImage, run: readonly Packed[]): Promise<void> {
  const { clusterSize } = image.geometry
  for (const { offset, data } of run) {
    const first = Math.floor(offset / clusterSize)
    const last = Math.floor((offset + data.byteLength - 1) / clusterSize)
    await image.release(first, last - first + 1)
  }
}
