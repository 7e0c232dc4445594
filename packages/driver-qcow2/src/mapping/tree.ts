/**
 * Whole mappings, an L1 table with its L2 tables: what they refer to, and copies of them.
 *
 * A copy shares what the original maps. Copied flags hold for the active mapping only, so a copy of a table in which
 * an entry has the flag must be a table of its own, without flags; a table without flags is shared itself.
 */
import { BlockError, isAligned } from '@diskgraph/core/driver'
import { bigEndianWord, hex } from '../bytes.ts'
import {
  compressedDescriptor,
  type Geometry,
  hiCompressed,
  hiCopied,
  hiTooFar,
  loOffset,
  offsetOf,
} from '../header/layout.ts'
import type { Claims } from '../refcounts/claims.ts'
import { miscounted } from '../refcounts/refcounts.ts'
import type { ReferenceCounts } from '../refcounts/reference-counts.ts'
import { Structure } from '../tables/overlap.ts'
import { RootTable } from '../tables/root-table.ts'
import { forEachTable } from '../tables/stream.ts'
import type { MappedImage } from './active-tables.ts'

/** The L2 tables of an L1 table. */
interface Tables {
  /** L1 indices. */
  readonly indices: readonly number[]
  readonly offsets: readonly number[]
}

/** Lists the L2 tables among the first `entries` entries; rejects where one is misplaced. */
export async function listTables(image: MappedImage, l1: RootTable, entries = l1.entries): Promise<Tables> {
  const indices: number[] = []
  const offsets: number[] = []
  for (let index = 0; index < Math.min(entries, l1.entries); index++) {
    const offset = l1.offsetAt(index)
    if (offset === 0) continue
    if (!Number.isSafeInteger(offset)) {
      throw new BlockError('EFBIG', `L2 table ${index} lies beyond the largest possible offset`)
    }
    if (!isAligned(offset, image.geometry.clusterSize)) {
      await image.corruption.report(`L2 table offset ${hex(offset)} unaligned (L1 index: ${hex(index)})`)
    }
    if (offset / image.geometry.clusterSize >= image.refcounts.reach) throw miscounted(offset)
    indices.push(index)
    offsets.push(offset)
  }
  return { indices, offsets }
}

/** Adds all clusters that an L1 table, itself included, refers to, to `counts`. */
export async function addTree(image: MappedImage, l1: RootTable, counts: ReferenceCounts): Promise<void> {
  const { file, geometry } = image
  const { clusterSize } = geometry
  addRange(counts, clusterSize, l1.offset, l1.data.byteLength)
  const { offsets } = await listTables(image, l1)
  await forEachTable({ file, offsets, tableSize: clusterSize }, (index, view, at) => {
    counts.increment(offsets[index]! / clusterSize)
    const { damaged } = addEntryReferences(image, view, at, counts)
    return damaged < 0 ? undefined : reportEntry(image, view, at, offsets[index]!, damaged)
  })
}

/** Adds the clusters that a range of the file touches. */
export function addRange(counts: ReferenceCounts, clusterSize: number, offset: number, length: number): void {
  if (length <= 0) return
  const first = Math.floor(offset / clusterSize)
  counts.incrementRun(first, Math.floor((offset + length - 1) / clusterSize) - first + 1)
}

/**
 * Makes the bytes of an L1 table that maps what the first `entries` entries of `source` map, and adds the references
 * that this makes to `plus`. L2 tables that cannot be shared are copied into clusters from `claims`.
 */
export async function copyTree(
  image: MappedImage,
  source: RootTable,
  entries: number,
  plus: ReferenceCounts,
  claims: Claims,
): Promise<Uint8Array> {
  const { file, geometry } = image
  const { clusterSize } = geometry
  const { indices, offsets } = await listTables(image, source, entries)
  const copy = new RootTable(0, new Uint8Array(source.data.byteLength))
  await forEachTable({ file, offsets, tableSize: clusterSize }, async (index, view, at) => {
    const { copied, damaged } = addEntryReferences(image, view, at, plus)
    if (damaged >= 0) await reportEntry(image, view, at, offsets[index]!, damaged)
    if (!copied) {
      plus.increment(offsets[index]! / clusterSize)
      return copy.set(indices[index]!, offsets[index]!, 0)
    }
    clearCopiedFlags(view, at, geometry)
    const own = await writeTable(image, claims, new Uint8Array(view.buffer, view.byteOffset + at, clusterSize))
    copy.set(indices[index]!, own, hiCopied)
  })
  return copy.data
}

/** Writes a table of any kind into clusters from `claims`, and returns where. */
export async function writeTable(image: MappedImage, claims: Claims, data: Uint8Array): Promise<number> {
  const offset = await claims.allocate(Math.ceil(data.byteLength / image.geometry.clusterSize))
  const refusal = image.overlap.check(Structure.none, offset, data.byteLength)
  if (refusal !== undefined) await refusal
  await image.file.write(offset, data)
  return offset
}

/** Whether a cluster is among some. */
interface Membership {
  has(cluster: number): boolean
}

/**
 * Sets the copied flags of the active mapping for clusters in `single`, whose count is about to become 1. Tables that
 * change are written anew, into clusters from `claims`; the old ones are added to `minus`. Undefined when nothing
 * changes, else the bytes of the new L1 table.
 */
export async function setCopiedFlags(
  image: MappedImage,
  single: Membership,
  minus: ReferenceCounts,
  claims: Claims,
): Promise<Uint8Array | undefined> {
  const { file, geometry, store } = image
  const { clusterSize } = geometry
  const { indices, offsets } = await listTables(image, store.l1)
  const data = store.l1.data.slice()
  const l1 = new RootTable(store.l1.offset, data)
  let changed = false
  await forEachTable({ file, offsets, tableSize: clusterSize }, async (index, view, at) => {
    const offset = offsets[index]!
    const l1Index = indices[index]!
    if (markSingles(view, at, geometry, single)) {
      const own = await writeTable(image, claims, new Uint8Array(view.buffer, view.byteOffset + at, clusterSize))
      minus.increment(offset / clusterSize)
      l1.set(l1Index, own, hiCopied)
    } else if (single.has(offset / clusterSize)) {
      l1.set(l1Index, offset, hiCopied)
    } else return
    changed = true
  })
  return changed ? data : undefined
}

function markSingles(view: DataView, at: number, geometry: Geometry, single: Membership): boolean {
  const { clusterSize, l2EntrySize } = geometry
  let changed = false
  for (let position = at; position < at + clusterSize; position += l2EntrySize) {
    const hi = view.getUint32(position)
    if ((hi & (hiCompressed | hiCopied)) !== 0) continue
    const lo = view.getUint32(position + 4)
    const offset = offsetOf(hi, lo)
    if (offset === 0 || !single.has(Math.floor(offset / clusterSize))) continue
    view.setUint32(position, (hi | hiCopied) >>> 0)
    changed = true
  }
  return changed
}

/**
 * Adds the clusters that an L2 table, which stands at byte `at` of `view`, refers to, to `counts`; stops at the first
 * damaged entry.
 */
function addEntryReferences(image: MappedImage, view: DataView, at: number, counts: ReferenceCounts): EntrySummary {
  const { geometry } = image
  const { clusterSize, l2EntrySize } = geometry
  const { reach } = image.refcounts
  const words = new Uint32Array(view.buffer, view.byteOffset + at, clusterSize / 4)
  const step = l2EntrySize / 4
  const unaligned = (clusterSize - 1) & loOffset
  let copied = false
  for (let i = 0; i < words.length; i += step) {
    const rawHi = words[i]!
    if (rawHi === 0 && words[i + 1] === 0) continue
    const hi = bigEndianWord(rawHi)
    const lo = bigEndianWord(words[i + 1]!)
    if ((hi & hiCompressed) !== 0) {
      const { offset, length } = compressedDescriptor(geometry, hi, lo)
      if (!Number.isSafeInteger(offset + length)) return { copied, damaged: i / step }
      const first = Math.floor(offset / clusterSize)
      const end = Math.floor((offset + length - 1) / clusterSize) + 1
      if (end > reach) return { copied, damaged: i / step }
      counts.incrementRun(first, end - first)
      continue
    }
    const offset = offsetOf(hi, lo)
    if (offset === 0) continue
    if ((lo & unaligned) !== 0 || (hi & hiTooFar) !== 0) return { copied, damaged: i / step }
    if ((hi & hiCopied) !== 0) copied = true
    let run = 1
    for (let next = lo + clusterSize; words[i + step] === rawHi && next <= 0xffffffff; next += clusterSize) {
      if (words[i + step + 1] !== bigEndianWord(next)) break
      run++
      i += step
    }
    const first = offset / clusterSize
    if (first + run > reach) return { copied, damaged: i / step }
    counts.incrementRun(first, run)
  }
  return { copied, damaged: -1 }
}

/** What {@link addEntryReferences} saw. */
interface EntrySummary {
  /** Whether an entry of a standard cluster has the copied flag. */
  readonly copied: boolean
  /** Index of the first entry that contradicts the format; -1: none. */
  readonly damaged: number
}

/** Takes the copied flag from all entries of standard clusters. */
function clearCopiedFlags(view: DataView, at: number, { clusterSize, l2EntrySize }: Geometry): void {
  for (let position = at; position < at + clusterSize; position += l2EntrySize) {
    const hi = view.getUint32(position)
    if ((hi & hiCopied) !== 0 && (hi & hiCompressed) === 0) view.setUint32(position, (hi & ~hiCopied) >>> 0)
  }
}

/**
 * Rejects because of a damaged entry of the L2 table at `tableOffset`; marks the image as corrupt where the entry
 * itself contradicts the format, but not where it points behind all counts.
 */
export function reportEntry(
  image: MappedImage,
  view: DataView,
  at: number,
  tableOffset: number,
  index: number,
): Promise<never> {
  const { l2EntrySize } = image.geometry
  const hi = view.getUint32(at + index * l2EntrySize)
  const lo = view.getUint32(at + index * l2EntrySize + 4)
  const place = `(L2 offset: ${hex(tableOffset)}, L2 index: ${hex(index)})`
  const compressed = (hi & hiCompressed) !== 0
  const offset = compressed ? compressedDescriptor(image.geometry, hi, lo).offset : offsetOf(hi, lo)
  if (!Number.isSafeInteger(offset)) {
    return Promise.reject(new BlockError('EFBIG', `a mapping points beyond the largest possible offset ${place}`))
  }
  if (!compressed && !isAligned(offset, image.geometry.clusterSize)) {
    return image.corruption.report(`Cluster allocation offset ${hex(offset)} unaligned ${place}`)
  }
  return Promise.reject(miscounted(offset))
}
