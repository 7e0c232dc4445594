/**
 * Discarding whole clusters. In version 3 they read as zeroes afterwards, also above a backing file; a full discard
 * makes them unallocated instead, so that the backing file shows again.
 */
import { alignDown, alignUp, BlockError } from '@diskgraph/core/driver'
import { loZero } from '../header/layout.ts'
import { changeEntries } from '../mapping/entries.ts'
import { freeEntry } from '../mapping/l2-tables.ts'
import { Kind, kindOf } from '../mapping/map.ts'
import type { FreeReason } from '../refcounts/frees.ts'
import type { Qcow2State } from '../state.ts'

/** How a range is discarded. */
export interface DiscardSettings {
  /** The clusters become unallocated rather than zero. */
  readonly full: boolean
  readonly reason: FreeReason
}

/** Discards the whole clusters in a guest range; its end counts as whole at the end of the disk. */
export async function discardRange(
  state: Qcow2State,
  offset: number,
  length: number,
  settings: DiscardSettings,
  signal?: AbortSignal,
): Promise<void> {
  state.checkUsable()
  const { clusterSize } = state.geometry
  const backing = state.backing() !== undefined
  const { version } = state.header.value
  if (version < 3 && backing && !settings.full) {
    throw new BlockError('ENOTSUP', 'a version 2 image cannot discard: the backing file would show')
  }
  const start = alignUp(offset, clusterSize)
  const end =
    offset + length >= state.size ? alignUp(offset + length, clusterSize) : alignDown(offset + length, clusterSize)
  if (end <= start) return
  const zero = version >= 3 && !settings.full ? loZero : 0
  const keep = state.options.discardNoUnref && !settings.full
  const change = (view: DataView, at: number): boolean => {
    const hi = view.getUint32(at)
    const lo = view.getUint32(at + 4)
    const kind = kindOf(hi, lo)
    const holds = kind === Kind.normal || kind === Kind.zeroAllocated || kind === Kind.compressed
    if (!settings.full && !backing && !holds) return false
    const kept = keep && zero !== 0 && kind !== Kind.compressed && holds
    const nextHi = kept ? hi : 0
    const nextLo = kept ? (lo | loZero) >>> 0 : zero
    if (nextHi === hi && nextLo === lo) return false
    view.setUint32(at, nextHi)
    view.setUint32(at + 4, nextLo)
    if (!kept) freeEntry(state, hi, lo, settings.reason)
    return true
  }
  await changeEntries(state, start, end, { createTables: backing && !settings.full, change }, signal)
}
