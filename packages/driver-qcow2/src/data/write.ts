/**
 * Writing guest data.
 *
 * A run of clusters that belong to the active disk alone is written in place, without the mutex and without a
 * change of metadata. Everything else is an allocation, in three steps:
 *
 *   1. begin (mutex): the L2 table is made writable, clusters are taken (their counts go up in the cache), and the
 *      guest range is entered in `inFlight`, so that overlapping writes wait;
 *   2. data (no mutex): the data with the copied edges of its first and last cluster goes to the new clusters;
 *   3. link (mutex): the L2 entries are set, and the clusters they pointed to before are freed.
 *
 * A failure in 2 or 3 gives the clusters back; the disk is as it was. A crash at any point leaves the old mapping
 * or the new one, and leaked clusters at worst: see metadata.ts for the order on disk.
 */
import { throwIfAborted } from '@diskgraph/core/driver'
import { highHalf, lowHalf } from '../bytes.ts'
import { TaskPool } from '../concurrency.ts'
import { entrySize, hiCopied } from '../header/layout.ts'
import { ensureTable, freeEntry, l1IndexOf } from '../mapping/l2-tables.ts'
import { entryPlace, findRun, Kind, kindOf, newRun, peekRun } from '../mapping/map.ts'
import type { Qcow2State } from '../state.ts'
import { guardInPlace } from '../tables/distance.ts'
import { writeNewClusters } from './cow.ts'
import type { Allocation } from './in-flight.ts'

/** So many writes of one request are on their way at a time. */
const writesAtOnce = 32

/** Clusters that were taken for a part of a write. */
export interface NewClusters {
  readonly allocation: Allocation
  /** Guest range to write: not aligned to clusters. */
  readonly offset: number
  readonly length: number
  readonly host: number
  readonly clusters: number
  /** They were reserved before, behind the zero flag: they need not be freed on failure. */
  readonly reused: boolean
}

/** Writes guest data at `offset`, which may lie behind the disk (VM state). */
export function writeRange(state: Qcow2State, offset: number, buf: Uint8Array, signal?: AbortSignal): Promise<void> {
  if (state.corruption.broken) return Promise.reject(state.corruption.unusable())
  const { run, inFlight } = state
  if (inFlight.size === 0 || inFlight.firstOverlap(offset, offset + buf.length) === undefined) {
    peekRun(state, offset, buf.length, run)
    if (run.length === buf.length && run.kind === Kind.normal && run.copied) {
      return writeInPlace(state, offset, run.host, buf, signal)
    }
  }
  return writePieces(state, offset, buf, signal)
}

function writeInPlace(
  state: Qcow2State,
  offset: number,
  host: number,
  buf: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { file } = state
  const refusal = guardInPlace(state, offset, host, buf.length)
  if (refusal !== undefined) return state.frees.track(refusal.then(() => writeData(state, host, buf, signal)))
  const held = file.debugEvent('write_aio')
  if (held === undefined) return state.frees.track(file.write(host, buf, 0, signal))
  return state.frees.track(held.then(() => file.write(host, buf, 0, signal)))
}

async function writeData(
  state: Qcow2State,
  host: number,
  buf: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const held = state.file.debugEvent('write_aio')
  if (held !== undefined) await held
  await state.file.write(host, buf, 0, signal)
}

async function writePieces(
  state: Qcow2State,
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
      const blocker = state.inFlight.firstOverlap(at, end)
      if (blocker !== undefined && blocker.start <= at) {
        await blocker.settled
        continue
      }
      const limit = blocker === undefined ? end : blocker.start
      peekRun(state, at, limit - at, run)
      if (run.kind < 0) {
        await findRun(state, at, limit - at, run)
        continue
      }
      if (run.kind === Kind.normal && run.copied) {
        pool.add(writeInPlace(state, at, run.host, buf.subarray(at - offset, at - offset + run.length), signal))
        at += run.length
      } else {
        const taken = await beginAllocation(state, at, limit - at)
        if (taken === undefined) continue
        pool.add(finishAllocation(state, taken, buf.subarray(at - offset, at - offset + taken.length), signal))
        at += taken.length
      }
      if (pool.pending >= writesAtOnce) await pool.below(writesAtOnce)
    }
  } catch (error) {
    pool.fail(error)
  }
  return pool.finish()
}

/** Step 1. Undefined when the situation has changed while waiting for the mutex: look again. */
async function beginAllocation(state: Qcow2State, offset: number, length: number): Promise<NewClusters | undefined> {
  if (state.frees.crowded) await state.flushFrees()
  const { mutex } = state
  const wait = mutex.lock()
  if (wait !== undefined) await wait
  try {
    return await takeClusters(state, offset, length)
  } finally {
    mutex.unlock()
  }
}

async function takeClusters(state: Qcow2State, offset: number, length: number): Promise<NewClusters | undefined> {
  state.checkUsable()
  const { geometry, allocator, inFlight, store } = state
  const { clusterSize } = geometry
  if (inFlight.firstOverlap(offset, offset + length) !== undefined) return undefined
  const run = newRun()
  await findRun(state, offset, length, run)
  if (run.kind === Kind.normal && run.copied) return undefined
  await ensureTable(state, l1IndexOf(state, offset))
  const place = entryPlace(state, offset)
  let slice = store.l2.peekRoom(place.slice)
  while (slice === undefined) {
    await store.l2.provide(place.slice)
    slice = store.l2.peekRoom(place.slice)
  }
  const first = Math.floor(offset / clusterSize)
  if (run.kind === Kind.zeroAllocated && run.copied) {
    const start = first * clusterSize
    const clusters = Math.ceil((offset + run.length) / clusterSize) - first
    const allocation = inFlight.begin(start, start + clusters * clusterSize)
    return { allocation, offset, length: run.length, host: run.host - (offset - start), clusters, reused: true }
  }
  const wanted = Math.min(place.rest, Math.ceil((offset + length) / clusterSize) - first)
  const clusters = countToAllocate(slice.view, place.at, wanted)
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

/** Steps 2 and 3, and the way back. */
async function finishAllocation(
  state: Qcow2State,
  taken: NewClusters,
  data: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { inFlight, mutex } = state
  try {
    await writeNewClusters(state, taken, data, signal)
    const wait = mutex.lock()
    if (wait !== undefined) await wait
    try {
      await link(state, taken.allocation, taken.host, taken.reused)
    } finally {
      mutex.unlock()
    }
  } catch (error) {
    if (!taken.reused) await giveBack(state, taken.host, taken.clusters)
    throw error
  } finally {
    inFlight.end(taken.allocation)
  }
}

/** Frees clusters that were taken and never linked. */
export async function giveBack(state: Qcow2State, host: number, clusters: number): Promise<void> {
  await state.exclusively(() => state.release(host / state.geometry.clusterSize, clusters))
}

/** Step 3: points the L2 entries of an allocation at its clusters. Under the mutex; all or nothing. */
async function link(state: Qcow2State, allocation: Allocation, host: number, reused: boolean): Promise<void> {
  const { store, geometry } = state
  state.checkUsable()
  await state.prepareLinking()
  if (store.l2.crowded) await store.writeMapping()
  const place = entryPlace(state, allocation.start)
  let slice = store.l2.peek(place.slice)
  while (slice === undefined) {
    await store.l2.load(place.slice)
    slice = store.l2.peek(place.slice)
  }
  const { view } = slice
  const clusters = (allocation.end - allocation.start) / geometry.clusterSize
  for (let i = 0; i < clusters; i++) {
    const at = place.at + i * entrySize
    const hi = view.getUint32(at)
    const lo = view.getUint32(at + 4)
    if (!reused && (hi !== 0 || lo !== 0)) freeEntry(state, hi, lo, 'other')
    const offset = host + i * geometry.clusterSize
    view.setUint32(at, (highHalf(offset) | hiCopied) >>> 0)
    view.setUint32(at + 4, lowHalf(offset))
  }
  store.l2.markDirty(slice)
  store.noteData()
}
