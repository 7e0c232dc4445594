/**
 * Writing zeroes. Whole clusters of a version 3 image get the zero flag, and keep their host cluster unless they may
 * be unmapped; so do clusters of which a part is zeroed while the rest reads as zeroes. Version 2 images without
 * backing file deallocate. What is left takes the cheapest way that there is: nothing where zeroes stand already, the
 * storage's own zeroes where a cluster may be written in place, data otherwise.
 */
import { alignDown, alignUp, BlockError, Flag, throwIfAborted } from '@diskgraph/core/driver'
import { loZero } from '../header/layout.ts'
import { changeEntries } from '../mapping/entries.ts'
import { freeEntry } from '../mapping/l2-tables.ts'
import { findRun, Kind, kindOf, newRun } from '../mapping/map.ts'
import type { Qcow2State } from '../state.ts'
import { guardInPlace } from '../tables/distance.ts'
import { discardRange } from './discard.ts'
import { writeRange } from './write.ts'

/** Zeroes to write where there is no better way; never changed. */
let zeroes: Uint8Array | undefined
const zeroesSize = 1024 * 1024

/** Makes a guest range read as zeroes. ENOTSUP when `NoFallback` is set and data would have to be written. */
export async function zeroRange(
  state: Qcow2State,
  offset: number,
  length: number,
  flags: number,
  signal?: AbortSignal,
): Promise<void> {
  state.checkUsable()
  const { clusterSize } = state.geometry
  const end = offset + length
  const bodyStart = alignUp(offset, clusterSize)
  const bodyEnd = end === state.size ? alignUp(end, clusterSize) : alignDown(end, clusterSize)
  if (bodyEnd < bodyStart) return zeroEdge(state, offset, length, flags, signal)
  if (offset < bodyStart) await zeroEdge(state, offset, bodyStart - offset, flags, signal)
  if (bodyStart < bodyEnd) await zeroClusters(state, bodyStart, bodyEnd, flags, signal)
  if (bodyEnd < end) await zeroEdge(state, bodyEnd, end - bodyEnd, flags, signal)
}

/** Zeroes whole clusters. */
async function zeroClusters(
  state: Qcow2State,
  start: number,
  end: number,
  flags: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (state.header.value.version >= 3) {
    await flagClusters(state, start, end, { mayUnmap: (flags & Flag.MayUnmap) !== 0, onlyEmpty: false }, signal)
  } else if (state.backing() === undefined) {
    await discardRange(state, start, end - start, { full: false, reason: 'request' }, signal)
  } else {
    await zeroPart(state, start, Math.min(end, state.size) - start, flags, signal)
  }
}

/** Zeroes a part of one cluster: all of it, where the rest reads as zeroes already. */
async function zeroEdge(
  state: Qcow2State,
  offset: number,
  length: number,
  flags: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { clusterSize } = state.geometry
  const start = alignDown(offset, clusterSize)
  const end = start + clusterSize
  if (state.header.value.version >= 3) {
    const before = await readsAsZeroes(state, start, offset - start)
    if (before && (await readsAsZeroes(state, offset + length, Math.min(end, state.size) - offset - length))) {
      const settings = { mayUnmap: (flags & Flag.MayUnmap) !== 0, onlyEmpty: true }
      if (await flagClusters(state, start, end, settings, signal)) return
    }
  }
  return zeroPart(state, offset, length, flags, signal)
}

/** Whether a range inside one cluster is known to be zero without a cluster of its own. */
async function readsAsZeroes(state: Qcow2State, offset: number, length: number): Promise<boolean> {
  if (length <= 0) return true
  const run = newRun()
  await findRun(state, offset, length, run)
  if (run.kind === Kind.zero || run.kind === Kind.zeroAllocated) return true
  if (run.kind !== Kind.unallocated) return false
  const backing = state.backing()
  const end = Math.min(offset + length, backing?.size ?? 0)
  for (let at = offset; at < end; ) {
    const status = await backing!.chainStatus(at, end - at)
    if (!status.zero) return false
    at += status.length
  }
  return true
}

/**
 * Sets the zero flag of whole clusters. With `onlyEmpty`, clusters that hold data by now are left alone, and the
 * result is false.
 */
async function flagClusters(
  state: Qcow2State,
  start: number,
  end: number,
  settings: { readonly mayUnmap: boolean; readonly onlyEmpty: boolean },
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const { onlyEmpty } = settings
  const mayUnmap = settings.mayUnmap && !state.options.discardNoUnref
  let complete = true
  const change = (view: DataView, at: number): boolean => {
    const hi = view.getUint32(at)
    const lo = view.getUint32(at + 4)
    const kind = kindOf(hi, lo)
    if (onlyEmpty && (kind === Kind.normal || kind === Kind.compressed)) {
      complete = false
      return false
    }
    const keep = !mayUnmap && (kind === Kind.normal || kind === Kind.zeroAllocated)
    const nextHi = keep ? hi : 0
    const nextLo = keep ? (lo | loZero) >>> 0 : loZero
    if (nextHi === hi && nextLo === lo) return false
    view.setUint32(at, nextHi)
    view.setUint32(at + 4, nextLo)
    if (!keep) freeEntry(state, hi, lo, 'request')
    return true
  }
  await changeEntries(state, start, end, { createTables: true, change }, signal)
  return complete
}

/** Zeroes a range without the zero flag; zeroes that are stored already stay as they are. */
export async function zeroPart(
  state: Qcow2State,
  offset: number,
  length: number,
  flags: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const run = newRun()
  const end = offset + length
  for (let at = offset; at < end; ) {
    throwIfAborted(signal)
    const blocker = state.inFlight.firstOverlap(at, end)
    if (blocker !== undefined && blocker.start <= at) {
      await blocker.settled
      continue
    }
    await findRun(state, at, (blocker === undefined ? end : blocker.start) - at, run)
    const { kind, length: step } = run
    if (kind === Kind.normal && run.copied) {
      await zeroInPlace(state, at, run.host, step, flags, signal)
    } else if (!isZeroAlready(state, kind)) {
      if ((flags & Flag.NoFallback) !== 0) throw noEfficientZeroes()
      await writeZeroBytes(state, at, step, signal)
    }
    at += step
  }
}

/** Whether zeroes are there to stay: where only a backing file has ended, it may grow. */
function isZeroAlready(state: Qcow2State, kind: number): boolean {
  if (kind === Kind.unallocated) return state.backing() === undefined && state.header.value.backingFile === undefined
  return kind === Kind.zero || kind === Kind.zeroAllocated
}

function zeroInPlace(
  state: Qcow2State,
  offset: number,
  host: number,
  length: number,
  flags: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const refusal = guardInPlace(state, offset, host, length)
  const pass = flags & (Flag.NoFallback | Flag.MayUnmap)
  if (refusal === undefined) return state.frees.track(state.file.writeZeroes(host, length, pass, signal))
  return state.frees.track(refusal.then(() => state.file.writeZeroes(host, length, pass, signal)))
}

async function writeZeroBytes(state: Qcow2State, offset: number, length: number, signal?: AbortSignal): Promise<void> {
  zeroes ??= new Uint8Array(zeroesSize)
  for (let done = 0; done < length; done += zeroesSize) {
    await writeRange(state, offset + done, zeroes.subarray(0, Math.min(zeroesSize, length - done)), signal)
  }
}

function noEfficientZeroes(): BlockError {
  return new BlockError('ENOTSUP', 'these zeroes would have to be written as data')
}
