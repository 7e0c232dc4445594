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
import { findRun, Kind, newRun } from '../mapping/map.ts'
import type { Qcow2State } from '../state.ts'
import { readRange } from './read.ts'
import type { NewClusters } from './write.ts'

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
  state: Qcow2State,
  taken: NewClusters,
  data: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { allocation, offset, host } = taken
  const { file, geometry } = state
  const refusal = state.guardWrite(host, taken.clusters * geometry.clusterSize)
  if (refusal !== undefined) await refusal
  const start = host + (offset - allocation.start)
  const tailOffset = offset + data.length
  const head = await edge(state, taken, allocation.start, offset - allocation.start)
  const tail = await edge(state, taken, tailOffset, allocation.end - tailOffset)
  if (head.length + tail.length > 0 && head.zero && tail.zero) {
    const held = file.debugEvent('cluster_alloc_space')
    if (held !== undefined) await held
  }
  const before = head.skip ? 0 : head.length
  const after = tail.skip ? 0 : tail.length
  if (before + data.length + after <= mergeLimit && before + after > 0) {
    const merged = new Uint8Array(before + data.length + after)
    const copied = await readEdges(state, head, tail, merged, signal)
    merged.set(data, before)
    const held = copied ? announce(file, 'write_aio', 'cow_write') : announce(file, 'write_aio')
    if (held !== undefined) await held
    return file.write(start - before, merged, 0, signal)
  }
  const held = file.debugEvent('write_aio')
  if (held !== undefined) await held
  if (before + after === 0) return file.write(start, data, 0, signal)
  return writeApart(state, [head, tail], start, data, signal)
}

async function edge(state: Qcow2State, taken: NewClusters, offset: number, length: number): Promise<Edge> {
  const host = taken.host + (offset - taken.allocation.start)
  if (length === 0) return { offset, length, host, zero: true, skip: true }
  const zero = await readsAsZeroes(state, offset, length)
  const fresh = !taken.reused && state.file.zeroInit && host >= state.file.size
  return { offset, length, host, zero, skip: zero && fresh }
}

/** Whether a range inside one cluster is known to be zero without reading data. */
async function readsAsZeroes(state: Qcow2State, offset: number, length: number): Promise<boolean> {
  const run = newRun()
  await findRun(state, offset, length, run)
  if (run.kind === Kind.zero || run.kind === Kind.zeroAllocated) return true
  if (run.kind !== Kind.unallocated) return false
  if (offset >= state.size) return true
  const backing = state.backing()
  return backing === undefined || offset >= backing.size
}

/** Reads the edges that are not zero into place; whether there were any. */
async function readEdges(
  state: Qcow2State,
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
  const held = state.file.debugEvent('cow_read')
  if (held !== undefined) await held
  for (const { edge, target } of wanted) pool.add(readRange(state, edge.offset, target, signal))
  await pool.finish()
  return true
}

/** Writes a large request and its edges as separate requests. */
async function writeApart(
  state: Qcow2State,
  edges: readonly Edge[],
  start: number,
  data: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const pool = new TaskPool()
  pool.add(state.file.write(start, data, 0, signal))
  for (const edge of edges) if (!edge.skip) pool.add(copyEdge(state, edge, signal))
  return pool.finish()
}

async function copyEdge(state: Qcow2State, edge: Edge, signal: AbortSignal | undefined): Promise<void> {
  const { file } = state
  if (edge.zero && edge.length >= zeroesLimit) return file.writeZeroes(edge.host, edge.length, 0, signal)
  const copy = new Uint8Array(edge.length)
  if (!edge.zero) {
    const held = file.debugEvent('cow_read')
    if (held !== undefined) await held
    await readRange(state, edge.offset, copy, signal)
  }
  const held = file.debugEvent('cow_write')
  if (held !== undefined) await held
  await file.write(edge.host, copy, 0, signal)
}
