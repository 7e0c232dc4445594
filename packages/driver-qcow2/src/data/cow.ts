/**
 * The data of newly allocated clusters: what the request writes, and around it what the first and the last cluster
 * held before. Small writes and their edges go out as one; edges that are zeroes and lie behind the end of the file
 * are not written, since a file grows by zeroes.
 *
 *     first cluster                          last cluster
 *     │ head      │ request …        … request │ tail     │
 */

import { TaskPool } from '../concurrency.ts'
import { announce } from '../events.ts'
import { type DataImage, Kind, type NewClusters, newRun } from './image.ts'
import { readRange } from './read.ts'

/** Requests of up to this many bytes are copied together with their edges. */
const mergeLimit = 256 * 1024
/** Zero edges from this size on are left to the storage where it can make zeroes without writing them. */
const zeroesLimit = 64 * 1024

interface Edge {
  readonly offset: number
  readonly length: number
  readonly host: number
  /** Reads as zeroes. */
  readonly zero: boolean
  /** Need not be written. */
  readonly skip: boolean
}

/** Writes the data of new clusters and their edges. Everything has settled when this does. */
export async function writeNewClusters(
  image: DataImage,
  taken: NewClusters,
  data: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { allocation, offset, host } = taken
  const { file, geometry } = image
  const refusal = image.guardWrite(host, taken.clusters * geometry.clusterSize)
  if (refusal !== undefined) await refusal
  const start = host + (offset - allocation.start)
  const tailOffset = offset + data.length
  const head = await edge(image, taken, allocation.start, offset - allocation.start)
  const tail = await edge(image, taken, tailOffset, allocation.end - tailOffset)
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
    return file.write(start - before, merged, 0, signal)
  }
  const held = file.debugEvent('write_aio')
  if (held !== undefined) await held
  if (before + after === 0) return file.write(start, data, 0, signal)
  return writeApart(image, [head, tail], start, data, signal)
}

async function edge(image: DataImage, taken: NewClusters, offset: number, length: number): Promise<Edge> {
  const host = taken.host + (offset - taken.allocation.start)
  if (length === 0) return { offset, length, host, zero: true, skip: true }
  const zero = await readsAsZeroes(image, offset, length)
  const fresh = !taken.reused && image.file.zeroInit && host >= image.file.size
  return { offset, length, host, zero, skip: zero && fresh }
}

/** Whether a range inside one cluster is known to be zero without reading data. */
async function readsAsZeroes(image: DataImage, offset: number, length: number): Promise<boolean> {
  const run = newRun()
  await image.map.find(offset, length, run)
  if (run.kind === Kind.zero || run.kind === Kind.zeroAllocated) return true
  if (run.kind !== Kind.unallocated) return false
  if (offset >= image.size) return true
  const backing = image.backing()
  return backing === undefined || offset >= backing.size
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
  start: number,
  data: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const pool = new TaskPool()
  pool.add(image.file.write(start, data, 0, signal))
  for (const edge of edges) if (!edge.skip) pool.add(copyEdge(image, edge, signal))
  return pool.finish()
}

async function copyEdge(image: DataImage, edge: Edge, signal: AbortSignal | undefined): Promise<void> {
  const { file } = image
  if (edge.zero && edge.length >= zeroesLimit) return file.writeZeroes(edge.host, edge.length, 0, signal)
  const copy = new Uint8Array(edge.length)
  if (!edge.zero) {
    const held = file.debugEvent('cow_read')
    if (held !== undefined) await held
    await readRange(image, edge.offset, copy, signal)
  }
  const held = file.debugEvent('cow_write')
  if (held !== undefined) await held
  await file.write(edge.host, copy, 0, signal)
}
