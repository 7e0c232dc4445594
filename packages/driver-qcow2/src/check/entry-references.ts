/** What the entries of an L2 table refer to, for operations that trust the image and stop at the first damage. */
import { BlockError, isAligned } from '@diskgraph/core/driver'
import { bigEndianWord, hex } from '../bytes.ts'
import {
  compressedDescriptor,
  entrySize,
  hiCompressed,
  hiCopied,
  hiTooFar,
  loOffset,
  offsetOf,
} from '../header/layout.ts'
import { miscounted } from '../refcounts/refcounts.ts'
import type { ReferenceCounts } from '../refcounts/reference-counts.ts'
import type { Qcow2State } from '../state.ts'

/**
 * Adds the clusters that an L2 table refers to, to `counts`; whether an entry has the copied flag. The table stands
 * at `tableOffset` in the file and at byte `at` of `view`. Returns the index of a damaged entry as `damaged`.
 */
export function addEntryReferences(
  state: Qcow2State,
  view: DataView,
  at: number,
  counts: ReferenceCounts,
): EntrySummary {
  const { geometry } = state
  const { clusterSize, l2Entries } = geometry
  const { reach } = state.refcounts
  const words = new Uint32Array(view.buffer, view.byteOffset + at, l2Entries * 2)
  const unaligned = (clusterSize - 1) & loOffset
  let copied = false
  for (let i = 0; i < words.length; i += 2) {
    const rawHi = words[i]!
    if (rawHi === 0 && words[i + 1] === 0) continue
    const hi = bigEndianWord(rawHi)
    const lo = bigEndianWord(words[i + 1]!)
    if ((hi & hiCompressed) !== 0) {
      const { offset, length } = compressedDescriptor(geometry, hi, lo)
      if (!Number.isSafeInteger(offset + length)) return { copied, damaged: i / 2 }
      const first = Math.floor(offset / clusterSize)
      const end = Math.floor((offset + length - 1) / clusterSize) + 1
      if (end > reach) return { copied, damaged: i / 2 }
      counts.incrementRun(first, end - first)
      continue
    }
    const offset = offsetOf(hi, lo)
    if (offset === 0) continue
    if ((lo & unaligned) !== 0 || (hi & hiTooFar) !== 0) return { copied, damaged: i / 2 }
    if ((hi & hiCopied) !== 0) copied = true
    let run = 1
    for (let next = lo + clusterSize; words[i + 2] === rawHi && next <= 0xffffffff; next += clusterSize) {
      if (words[i + 3] !== bigEndianWord(next)) break
      run++
      i += 2
    }
    const first = offset / clusterSize
    if (first + run > reach) return { copied, damaged: i / 2 }
    counts.incrementRun(first, run)
  }
  return { copied, damaged: -1 }
}

/** What {@link addEntryReferences} saw. */
export interface EntrySummary {
  /** Whether an entry of a standard cluster has the copied flag. */
  readonly copied: boolean
  /** Index of the first entry that contradicts the format; -1: none. */
  readonly damaged: number
}

/** Takes the copied flag from all entries of standard clusters. */
export function clearCopiedFlags(view: DataView, at: number, length: number): void {
  for (let position = at; position < at + length; position += entrySize) {
    const hi = view.getUint32(position)
    if ((hi & hiCopied) !== 0 && (hi & hiCompressed) === 0) view.setUint32(position, (hi & ~hiCopied) >>> 0)
  }
}

/**
 * Rejects because of a damaged entry of the L2 table at `tableOffset`; marks the image as corrupt where the entry
 * itself contradicts the format, but not where it points behind all counts.
 */
export function reportEntry(
  state: Qcow2State,
  view: DataView,
  at: number,
  tableOffset: number,
  index: number,
): Promise<never> {
  const hi = view.getUint32(at + index * entrySize)
  const lo = view.getUint32(at + index * entrySize + 4)
  const place = `(L2 offset: ${hex(tableOffset)}, L2 index: ${hex(index)})`
  const compressed = (hi & hiCompressed) !== 0
  const offset = compressed ? compressedDescriptor(state.geometry, hi, lo).offset : offsetOf(hi, lo)
  if (!Number.isSafeInteger(offset)) {
    return Promise.reject(new BlockError('EFBIG', `a mapping points beyond the largest possible offset ${place}`))
  }
  if (!compressed && !isAligned(offset, state.geometry.clusterSize)) {
    return state.corruption.report(`Cluster allocation offset ${hex(offset)} unaligned ${place}`)
  }
  return Promise.reject(miscounted(offset))
}
