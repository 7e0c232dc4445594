/**
 * Writing guest data.
 *
 * A run of clusters that belong to the active disk alone is written in place, without the mutex and without a
 * change of metadata; so they are as a part of an allocation where reserved clusters that read as zeroes stand in a row
 * with them. Everything else is an allocation, in three steps:
 *
 *   1. begin (mutex): clusters are taken, and the guest range is entered in `inFlight`, so that overlapping writes wait;
 *   2. data (no mutex): the data with the copied edges of its first and last cluster goes to the new clusters;
 *   3. link (mutex): the mapping points to them, and the clusters that it pointed to before are freed.
 *
 * A failure in 2 or 3 gives the clusters back; the disk is as it was. A crash at any point leaves the old mapping
 * or the new one, and leaked clusters at worst: the order on disk is the format's.
 */
import { throwIfAborted } from '@diskgraph/core/driver'
import { TaskPool } from './concurrency.ts'
import { announce } from './events.ts'
import { type DataImage, Kind, type NewClusters, newRun } from './image.ts'
import { readRange } from './read.ts'

/** So many writes of one request are on their way at a time. */
const writesAtOnce = 32
/** Requests of up to this many bytes are copied together with their edges. */
const mergeLimit = 256 * 1024
/** Zero edges from this size on are left to the storage where it can make zeroes without writing them. */
const zeroesLimit = 64 * 1024

/** Writes guest data at `offset`, which may lie behind the disk (VM state). */
export function writeRange(image: DataImage, offset: number, buf: Uint8Array, signal?: AbortSignal): Promise<void> {
  if (image.corruption.broken) return Promise.reject(image.corruption.unusable())
  const { run } = image
  if (image.inFlight.isClear(offset, offset + buf.length)) {
    image.map.peek(offset, buf.length, run)
    if (run.length === buf.length && run.kind === Kind.normal && run.copied) {
      return writeInPlace(image, offset, run.host, buf, signal)
    }
  }
  return writePieces(image, offset, buf, signal)
}

function writeInPlace(
  image: DataImage,
  offset: number,
  host: number,
  buf: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const refusal = image.guardInPlace(offset, host, buf.length)
  if (refusal === undefined) return image.frees.track(writeData(image, offset, host, buf, signal))
  return image.frees.track(refusal.then(() => writeData(image, offset, host, buf, signal)))
}

function writeData(
  image: DataImage,
  offset: number,
  host: number,
  buf: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const held = image.file.debugEvent('write_aio')
  if (held === undefined) return store(image, offset, host, buf, signal)
  return held.then(() => store(image, offset, host, buf, signal))
}

/** Writes guest data as it is kept. */
function store(
  image: DataImage,
  offset: number,
  host: number,
  buf: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { file, dataFile = file, cipher } = image
  return dataFile.write(host, cipher === undefined ? buf : cipher.encrypt(offset, host, buf), 0, signal)
}

async function writePieces(
  image: DataImage,
  offset: number,
  buf: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const pool = new TaskPool()
  const run = newRun()
  const end = offset + buf.length
  try {
    for (let at = offset; at < end && !pool.failed; ) {
      throwIfAborted(signal)
      const limit = image.inFlight.clearUntil(at, end)
      if (limit === at) {
        await image.inFlight.wait(at)
        continue
      }
      image.map.peek(at, limit - at, run)
      if (run.kind < 0) {
        await image.map.find(at, limit - at, run)
        continue
      }
      const inPlace = run.kind === Kind.normal && run.copied
      if (inPlace && (run.length === limit - at || image.map.peekReusable(at, limit - at) === 0)) {
        pool.add(writeInPlace(image, at, run.host, buf.subarray(at - offset, at - offset + run.length), signal))
        at += run.length
      } else {
        const taken = await image.allocations.begin(at, limit - at)
        if (taken === undefined) continue
        pool.add(writeAllocation(image, taken, buf.subarray(at - offset, at - offset + taken.length), signal))
        at += taken.length
      }
      if (pool.pending >= writesAtOnce) await pool.below(writesAtOnce)
    }
  } catch (error) {
    // What ends the walk (damage, say) goes before what it made of the pieces that are on their way.
    await pool.finish().catch(() => undefined)
    throw error
  }
  return pool.finish()
}

/** Steps 2 and 3, and the way back. */
async function writeAllocation(
  image: DataImage,
  taken: NewClusters,
  data: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    await writeNewClusters(image, taken, data, signal)
    await image.allocations.link(taken)
  } catch (error) {
    await image.allocations.giveBack(taken)
    throw error
  } finally {
    image.inFlight.end(taken.allocation)
  }
}

/** What the first or the last new cluster held before, beside the data of the request. */
interface Edge {
  readonly offset: number
  readonly length: number
  readonly host: number
  /** Reads as zeroes. */
  readonly zero: boolean
  /** Need not be written. */
  readonly skip: boolean
}

/**
 * Step 2: writes the data of new clusters, and around it what the first and the last of them held before. Small writes
 * and their edges go out as one; edges that are zeroes and lie behind the end of the file are not written, since a file
 * grows by zeroes. Everything has settled when this does.
 *
 *     first cluster                          last cluster
 *     │ head      │ request …        … request │ tail     │
 */
async function writeNewClusters(
  image: DataImage,
  taken: NewClusters,
  data: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { allocation, offset, host } = taken
  const { file, geometry } = image
  const bytes = taken.clusters * geometry.clusterSize
  const refusal = taken.reused ? image.guardInPlace(allocation.start, host, bytes) : image.guardWrite(host, bytes)
  if (refusal !== undefined) await refusal
  const start = host + (offset - allocation.start)
  const tailOffset = offset + data.length
  const { start: first = allocation.start, end: last = allocation.end } = taken
  const head = await edge(image, taken, first, offset - first)
  const tail = await edge(image, taken, tailOffset, last - tailOffset)
  if (head.length + tail.length > 0 && head.zero && tail.zero) {
    const held = file.debugEvent('cluster_alloc_space')
    if (held !== undefined) await held
  }
  const before = head.skip ? 0 : head.length
  const after = tail.skip ? 0 : tail.length
  if (before + data.length + after <= mergeLimit && before + after > 0) {
    const merged = new Uint8Array(before + data.length + after)
    const copied = await readEdges(image, head, tail, merged, signal)
    merged.set(data, before)
    const held = copied ? announce(file, 'write_aio', 'cow_write') : announce(file, 'write_aio')
    if (held !== undefined) await held
    return store(image, offset - before, start - before, merged, signal)
  }
  const held = file.debugEvent('write_aio')
  if (held !== undefined) await held
  if (before + after === 0) return store(image, offset, start, data, signal)
  return writeApart(image, [head, tail], offset, start, data, signal)
}

async function edge(image: DataImage, taken: NewClusters, offset: number, length: number): Promise<Edge> {
  const host = taken.host + (offset - taken.allocation.start)
  if (length === 0) return { offset, length, host, zero: true, skip: true }
  const zero = await readsAsZeroes(image, offset, length)
  // The data of a reused cluster stands there, and others may be writing it in place.
  const { dataFile = image.file, cipher } = image
  const skip = taken.reused
    ? !zero && (await isThere(image, offset))
    : zero && cipher === undefined && dataFile.zeroInit && host >= dataFile.size
  return { offset, length, host, zero, skip }
}

/** Whether a range inside one cluster is known to be zero without reading data. */
async function readsAsZeroes(image: DataImage, offset: number, length: number): Promise<boolean> {
  const run = newRun()
  for (let at = offset; at < offset + length; at += run.length) {
    await image.map.find(at, offset + length - at, run)
    if (run.kind === Kind.zero || run.kind === Kind.zeroAllocated) continue
    if (run.kind !== Kind.unallocated) return false
    const backing = at >= image.size ? undefined : image.backing()
    if (backing !== undefined && at < backing.size) return false
  }
  return true
}

async function isThere(image: DataImage, offset: number): Promise<boolean> {
  const run = newRun()
  await image.map.find(offset, 1, run)
  return run.kind === Kind.normal
}

/** Reads the edges that are not zero into place; whether there were any. */
async function readEdges(
  image: DataImage,
  head: Edge,
  tail: Edge,
  merged: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const pool = new TaskPool()
  const wanted = [
    { edge: head, target: merged.subarray(0, head.length) },
    { edge: tail, target: merged.subarray(merged.length - tail.length) },
  ].filter(({ edge }) => !edge.skip && !edge.zero)
  if (wanted.length === 0) return false
  const held = image.file.debugEvent('cow_read')
  if (held !== undefined) await held
  for (const { edge, target } of wanted) pool.add(readRange(image, edge.offset, target, signal))
  await pool.finish()
  return true
}

/** Writes a large request and its edges as separate requests. */
async function writeApart(
  image: DataImage,
  edges: readonly Edge[],
  offset: number,
  start: number,
  data: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const pool = new TaskPool()
  pool.add(store(image, offset, start, data, signal))
  for (const edge of edges) if (!edge.skip) pool.add(copyEdge(image, edge, signal))
  return pool.finish()
}

async function copyEdge(image: DataImage, edge: Edge, signal: AbortSignal | undefined): Promise<void> {
  const { file, dataFile = file, cipher } = image
  if (edge.zero && edge.length >= zeroesLimit && cipher === undefined) {
    return dataFile.writeZeroes(edge.host, edge.length, 0, signal)
  }
  const copy = new Uint8Array(edge.length)
  if (!edge.zero) {
    const held = file.debugEvent('cow_read')
    if (held !== undefined) await held
    await readRange(image, edge.offset, copy, signal)
  }
  const held = file.debugEvent('cow_write')
  if (held !== undefined) await held
  await store(image, edge.offset, edge.host, copy, signal)
}
