/**
 * Reading. A request that one contiguous run answers is passed on without a promise of its own; any other is cut
 * into runs that are read at the same time.
 */
import { done, throwIfAborted } from '@diskgraph/core/driver'
import { readCompressed } from '../compressed/read.ts'
import { TaskPool } from '../concurrency.ts'
import { findRun, Kind, newRun, peekRun, type Run } from '../mapping/map.ts'
import type { Qcow2State } from '../state.ts'

/** So many reads of one request are on their way at a time. */
const readsAtOnce = 32

/** Reads guest data at `offset`, which may lie behind the disk (VM state). */
export function readRange(state: Qcow2State, offset: number, buf: Uint8Array, signal?: AbortSignal): Promise<void> {
  if (state.corruption.broken) return Promise.reject(state.corruption.unusable())
  const run = state.run
  peekRun(state, offset, buf.length, run)
  if (run.length === buf.length && run.kind !== Kind.compressed) return readRun(state, run, offset, buf, signal)
  return readPieces(state, offset, buf, signal)
}

/** Reads a run that is not compressed. */
function readRun(
  state: Qcow2State,
  run: Run,
  offset: number,
  buf: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (run.kind === Kind.normal) return readData(state, run.host, buf, signal)
  if (run.kind === Kind.unallocated) return readBacking(state, offset, buf, signal)
  buf.fill(0)
  return done
}

function readData(state: Qcow2State, host: number, buf: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
  const { file } = state
  const held = file.debugEvent('read_aio')
  const read = held === undefined ? file.read(host, buf, 0, signal) : held.then(() => file.read(host, buf, 0, signal))
  return state.readOnly ? read : state.frees.track(read)
}

/** Reads what the backing file has at `offset`; zeroes where there is none. */
export function readBacking(
  state: Qcow2State,
  offset: number,
  buf: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const backing = offset < state.size ? state.backing() : undefined
  if (backing === undefined) {
    buf.fill(0)
    return done
  }
  const held = state.file.debugEvent('read_backing_aio')
  if (held !== undefined) return held.then(() => backing.read(offset, buf, 0, signal))
  return backing.read(offset, buf, 0, signal)
}

async function readPieces(
  state: Qcow2State,
  offset: number,
  buf: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const pool = new TaskPool()
  const run = newRun()
  try {
    for (let position = 0; position < buf.length && !pool.failed; ) {
      throwIfAborted(signal)
      const at = offset + position
      peekRun(state, at, buf.length - position, run)
      if (run.kind < 0) {
        await findRun(state, at, buf.length - position, run)
        continue
      }
      if (run.kind === Kind.compressed) {
        position += readCompressed(state, at, buf.subarray(position), pool, signal)
      } else {
        pool.add(readRun(state, run, at, buf.subarray(position, position + run.length), signal))
        position += run.length
      }
      if (pool.pending >= readsAtOnce) await pool.below(readsAtOnce)
    }
  } catch (error) {
    pool.fail(error)
  }
  return pool.finish()
}
