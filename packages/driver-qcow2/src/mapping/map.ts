/**
 * From guest offsets to host clusters. `peekRun` answers from memory, without allocating, and says when a slice of
 * an L2 table has to be read first; `findRun` reads it.
 */
import { BlockError } from '@diskgraph/core/driver'
import { hex } from '../bytes.ts'
import { entrySize, hiCompressed, hiCopied, hiTooFar, loZero, offsetOf } from '../header/layout.ts'
import type { Qcow2State } from '../state.ts'

/** What a guest cluster is. */
export const Kind = {
  /** The slice of the L2 table is not in memory: `slice` says where it is. */
  missing: -1,
  /** An entry contradicts the format. */
  damaged: -2,
  /** The backing file decides. */
  unallocated: 0,
  /** Reads as zeroes, without a host cluster. */
  zero: 1,
  /** Reads as zeroes, and has a host cluster for later. */
  zeroAllocated: 2,
  normal: 3,
  compressed: 4,
} as const

/** A run of the disk that is all of one kind and contiguous in the file. Filled in by {@link peekRun}. */
export interface Run {
  /** One of {@link Kind}. */
  kind: number
  /** Bytes from the asked offset on; 0 when missing or damaged. */
  length: number
  /** Host offset of the first byte asked for (normal, zeroAllocated). */
  host: number
  /** The clusters are used by nobody else: they may be written in place. */
  copied: boolean
  /** Halves of the first entry. */
  hi: number
  lo: number
  /** Offset in the file of the slice to load. */
  slice: number
}

/** A fresh, empty run. */
export function newRun(): Run {
  return { kind: Kind.missing, length: 0, host: 0, copied: false, hi: 0, lo: 0, slice: 0 }
}

/** The kind of an L2 entry. */
export function kindOf(hi: number, lo: number): number {
  if ((hi & hiCompressed) !== 0) return Kind.compressed
  const hasOffset = (hi & 0x00ffffff) !== 0 || lo >>> 9 !== 0
  if ((lo & loZero) !== 0) return hasOffset ? Kind.zeroAllocated : Kind.zero
  return hasOffset ? Kind.normal : Kind.unallocated
}

/** Looks up what stands at `offset`, for `length` bytes at most, if the tables are in memory. */
export function peekRun(state: Qcow2State, offset: number, length: number, run: Run): void {
  const { geometry, store } = state
  const { clusterSize, l2Entries } = geometry
  const cluster = Math.floor(offset / clusterSize)
  const l1Index = Math.floor(cluster / l2Entries)
  const { l1 } = store
  const table = l1Index < l1.entries ? l1.offsetAt(l1Index) : 0
  if (table === 0) {
    run.kind = Kind.unallocated
    run.copied = false
    run.hi = 0
    run.lo = 0
    run.length = Math.min(length, (l1Index + 1) * geometry.l2Span - offset)
    return
  }
  if (Math.floor(table / clusterSize) * clusterSize !== table || !Number.isSafeInteger(table)) {
    markDamaged(run)
    return
  }
  const { l2 } = store
  const perSlice = l2.sliceSize / entrySize
  const l2Index = cluster - l1Index * l2Entries
  const sliceIndex = Math.floor(l2Index / perSlice)
  const sliceOffset = table + sliceIndex * l2.sliceSize
  const slice = l2.peek(sliceOffset)
  if (slice === undefined) {
    run.kind = Kind.missing
    run.length = 0
    run.slice = sliceOffset
    return
  }
  run.length = length
  run.host = offset - cluster * clusterSize
  scan(state, slice.view, l2Index - sliceIndex * perSlice, run)
}

/**
 * Finds out how far the entries from `index` of a slice on are of one kind and contiguous. `run` comes with the
 * length that is asked for, and with the offset in the first cluster as `host`.
 */
function scan(state: Qcow2State, view: DataView, index: number, run: Run): void {
  const { clusterSize } = state.geometry
  const { length, host: inCluster } = run
  const hi = view.getUint32(index * entrySize)
  const lo = view.getUint32(index * entrySize + 4)
  const kind = kindOf(hi, lo)
  run.kind = kind
  run.hi = hi
  run.lo = lo
  run.copied = (hi & hiCopied) !== 0
  run.length = Math.min(length, clusterSize - inCluster)
  if (kind === Kind.compressed) return
  if ((kind === Kind.zero || kind === Kind.zeroAllocated) && state.header.value.version < 3) {
    markDamaged(run)
    return
  }
  let host = 0
  const placed = kind === Kind.normal || kind === Kind.zeroAllocated
  if (placed) {
    host = offsetOf(hi, lo)
    if ((hi & hiTooFar) !== 0 || Math.floor(host / clusterSize) * clusterSize !== host) {
      markDamaged(run)
      return
    }
    run.host = host + inCluster
  }
  const entries = Math.min(view.byteLength / entrySize, index + Math.ceil((inCluster + length) / clusterSize))
  let covered = clusterSize - inCluster
  for (let next = index + 1; next < entries; next++) {
    const nextHi = view.getUint32(next * entrySize)
    const nextLo = view.getUint32(next * entrySize + 4)
    if (kindOf(nextHi, nextLo) !== kind || ((nextHi ^ hi) & hiCopied) !== 0) break
    if (placed) {
      host += clusterSize
      if (offsetOf(nextHi, nextLo) !== host) break
    }
    covered += clusterSize
  }
  run.length = Math.min(length, covered)
}

function markDamaged(run: Run): void {
  run.kind = Kind.damaged
  run.length = 0
}

/** Looks up what stands at `offset`, reading tables as needed. Rejects, and marks the image, where it is damaged. */
export async function findRun(state: Qcow2State, offset: number, length: number, run: Run): Promise<void> {
  for (;;) {
    peekRun(state, offset, length, run)
    if (run.kind >= 0) return
    if (run.kind === Kind.damaged) await reportDamage(state, offset)
    await state.store.l2.load(run.slice)
  }
}

async function reportDamage(state: Qcow2State, offset: number): Promise<void> {
  const { geometry, store, corruption } = state
  const cluster = Math.floor(offset / geometry.clusterSize)
  const l1Index = Math.floor(cluster / geometry.l2Entries)
  const table = store.l1.offsetAt(l1Index)
  const tooFar = `the mapping of guest offset ${hex(offset)} points beyond the largest possible offset`
  if (!Number.isSafeInteger(table)) throw new BlockError('EFBIG', tooFar)
  if (Math.floor(table / geometry.clusterSize) * geometry.clusterSize !== table) {
    await corruption.report(`L2 table offset ${hex(table)} unaligned (L1 index: ${hex(l1Index)})`)
  }
  const l2Index = cluster - l1Index * geometry.l2Entries
  const perSlice = store.l2.sliceSize / entrySize
  const slice = store.l2.peek(table + Math.floor(l2Index / perSlice) * store.l2.sliceSize)
  if (slice === undefined) return
  const at = (l2Index % perSlice) * entrySize
  const hi = slice.view.getUint32(at)
  const lo = slice.view.getUint32(at + 4)
  const place = `(L2 offset: ${hex(table)}, L2 index: ${hex(l2Index)})`
  if ((lo & loZero) !== 0 && state.header.value.version < 3) {
    await corruption.report(`Zero cluster entry found in pre-v3 image ${place}`)
  }
  if ((hi & hiTooFar) !== 0) throw new BlockError('EFBIG', tooFar)
  await corruption.report(`Cluster allocation offset ${hex(offsetOf(hi, lo))} unaligned ${place}`)
}

/** Where the slice with the L2 entry of a guest cluster is, and the place of the entry in it, in bytes. */
export interface EntryPlace {
  readonly slice: number
  readonly at: number
  /** Entries from this one to the end of the slice. */
  readonly rest: number
}

/** The place of the L2 entry for `offset`; the L2 table exists. */
export function entryPlace(state: Qcow2State, offset: number): EntryPlace {
  const { geometry, store } = state
  const cluster = Math.floor(offset / geometry.clusterSize)
  const l1Index = Math.floor(cluster / geometry.l2Entries)
  const l2Index = cluster - l1Index * geometry.l2Entries
  const perSlice = store.l2.sliceSize / entrySize
  const sliceIndex = Math.floor(l2Index / perSlice)
  const index = l2Index - sliceIndex * perSlice
  return {
    slice: store.l1.offsetAt(l1Index) + sliceIndex * store.l2.sliceSize,
    at: index * entrySize,
    rest: perSlice - index,
  }
}
