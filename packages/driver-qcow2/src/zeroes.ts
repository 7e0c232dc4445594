/**
 * Writing zeroes. Whole clusters of a version 3 image get the zero flag, and keep their host cluster unless they may
 * be unmapped. Parts of clusters, and version 2 images, take the cheapest way that there is: nothing where zeroes
 * stand already, the storage's own zeroes where a cluster may be written in place, data otherwise.
 */
import { alignDown, alignUp, BlockError, Flag, throwIfAborted } from '@diskgraph/core'
import { changeEntries } from './change-entries.ts'
import { discardRange } from './discard.ts'
import { freeEntry } from './l2-tables.ts'
import { loZero } from './layout.ts'
import { findRun, Kind, kindOf, newRun } from './map.ts'
import type { Qcow2State } from './state.ts'
import { guardDistance, writeRange } from './write.ts'

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
  if (bodyEnd <= bodyStart) return zeroPart(state, offset, length, flags, signal)
  if (offset < bodyStart) await zeroPart(state, offset, bodyStart - offset, flags, signal)
  if (state.header.value.version >= 3) await flagClusters(state, bodyStart, bodyEnd, flags, signal)
  else await zeroPart(state, bodyStart, Math.min(end, bodyEnd) - bodyStart, flags, signal)
  if (bodyEnd < end) await zeroPart(state, bodyEnd, end - bodyEnd, flags, signal)
}

/** Sets the zero flag of whole clusters. */
function flagClusters(
  state: Qcow2State,
  start: number,
  end: number,
  flags: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const mayUnmap = (flags & Flag.MayUnmap) !== 0 && !state.options.discardNoUnref
  const change = (view: DataView, at: number): boolean => {
    const hi = view.getUint32(at)
    const lo = view.getUint32(at + 4)
    const kind = kindOf(hi, lo)
    const keep = !mayUnmap && (kind === Kind.normal || kind === Kind.zeroAllocated)
    const nextHi = keep ? hi : 0
    const nextLo = keep ? (lo | loZero) >>> 0 : loZero
    if (nextHi === hi && nextLo === lo) return false
    view.setUint32(at, nextHi)
    view.setUint32(at + 4, nextLo)
    if (!keep) freeEntry(state, hi, lo, 'request')
    return true
  }
  return changeEntries(state, start, end, { createTables: true, change }, signal)
}

/** Zeroes a range without the zero flag. */
async function zeroPart(
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
      const { host } = run
      if (!(await unmapPart(state, at, step, flags, signal))) await zeroInPlace(state, at, host, step, flags, signal)
    } else if (!isZeroAlready(state, kind, at)) {
      if ((flags & Flag.NoFallback) !== 0) throw noEfficientZeroes()
      await writeZeroBytes(state, at, step, signal)
    }
    at += step
  }
}

function isZeroAlready(state: Qcow2State, kind: number, offset: number): boolean {
  if (kind === Kind.unallocated) {
    const backing = state.backing()
    return backing === undefined || offset >= backing.size
  }
  return kind === Kind.zero || kind === Kind.zeroAllocated
}

/** Deallocates the whole clusters of a version 2 image without backing file, where that is allowed. */
async function unmapPart(
  state: Qcow2State,
  offset: number,
  length: number,
  flags: number,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const { clusterSize } = state.geometry
  const whole = alignUp(offset, clusterSize) === offset && alignUp(length, clusterSize) === length
  if ((flags & Flag.MayUnmap) === 0 || !whole || state.header.value.version >= 3) return false
  if (state.backing() !== undefined) return false
  await discardRange(state, offset, length, { full: true, reason: 'request' }, signal)
  return true
}

async function zeroInPlace(
  state: Qcow2State,
  offset: number,
  host: number,
  length: number,
  flags: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const refusal = state.guardWrite(host, length) ?? guardDistance(state, offset, host, length)
  if (refusal !== undefined) await refusal
  const pass = flags & (Flag.NoFallback | Flag.MayUnmap)
  await state.frees.track(state.file.writeZeroes(host, length, pass, signal))
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
