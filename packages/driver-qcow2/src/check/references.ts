/**
 * Counts what the image refers to: its header, the active L1 table and those of snapshots with all that they map,
 * and the snapshot table. (Bitmaps: bitmaps.ts. The refcount structure is counted last: refcounts.ts.)
 */
import { Kind } from '@diskgraph/clusters'
import { isAligned } from '@diskgraph/core/driver'
import { bigEndianWord, printable } from '../bytes.ts'
import { encryptionRegion } from '../encryption.ts'
import {
  compressedDescriptor,
  ExtendedEntry,
  entrySize,
  hiCompressed,
  hiCopied,
  hiL1Reserved,
  hiL2Reserved,
  loL1Reserved,
  loL2Reserved,
  loOffset,
  loZero,
  maxL1TableSize,
  offsetOf,
} from '../header/layout.ts'
import { kindOf } from '../mapping/entries.ts'
import { type RootTable, readTable } from '../tables/root-table.ts'
import type { SnapshotRecord } from '../tables/snapshot-table.ts'
import { forEachTable } from '../tables/stream.ts'
import { type CheckState, hexField } from './state.ts'

/** Counts all references of the image into `check.references`. */
export async function countReferences(check: CheckState): Promise<void> {
  const { image } = check
  const { value } = image.header
  const { l1 } = image.store
  countRange(check, 0, image.geometry.clusterSize)
  countRange(check, l1.offset, l1.data.byteLength)
  await countMapping(check, l1, true)
  for (const snapshot of check.snapshots) await countSnapshot(check, snapshot)
  countSnapshotTable(check, value.snapshotsOffset)
  const region = encryptionRegion(value)
  if (region !== undefined) countRange(check, region.offset, region.length)
}

/** Counts what there is of the table. Entries behind the end of the file are wrong, unless they are about to go. */
function countSnapshotTable(check: CheckState, offset: number): void {
  const length = Math.max(0, Math.min(check.snapshotsLength, check.fileSize - offset))
  countRange(check, offset, length)
  const behind = offset + check.snapshotsLength - check.fileSize
  if (!check.snapshotsChanged && behind >= check.image.geometry.clusterSize) {
    reportOutside(check, offset, check.snapshotsLength)
  }
}

async function countSnapshot(check: CheckState, snapshot: SnapshotRecord): Promise<void> {
  const { file, geometry } = check.image
  const { l1Offset, l1Entries } = snapshot
  const name = `snapshot ${printable(snapshot.id)} (${printable(snapshot.name)})`
  const corrupted = 'snapshot table entry corrupted'
  if (!isAligned(l1Offset, geometry.clusterSize)) {
    const at = l1Offset.toString(16)
    return check.report.corruption(`ERROR ${name} l1_offset=0x${at}: L1 table is not cluster aligned; ${corrupted}`)
  }
  if (l1Entries * entrySize > maxL1TableSize) {
    const size = l1Entries.toString(16)
    return check.report.corruption(`ERROR ${name} l1_size=0x${size}: L1 table is too large; ${corrupted}`)
  }
  countRange(check, l1Offset, l1Entries * entrySize)
  const inFile = Math.max(0, Math.ceil((check.fileSize - l1Offset) / entrySize))
  await countMapping(check, await readTable(file, l1Offset, Math.min(l1Entries, inFile)), false)
}

/**
 * Counts every cluster that a range of the file touches; those that could be counted are added to `counted`. Reports
 * ranges outside the file, and counts too large.
 */
export function countRange(check: CheckState, offset: number, length: number, counted?: number[]): void {
  const { clusterSize } = check.image.geometry
  if (length <= 0) return
  if (offset + length - check.fileSize >= clusterSize || !Number.isSafeInteger(offset + length)) {
    reportOutside(check, offset, length)
    return
  }
  const last = Math.floor((offset + length - 1) / clusterSize)
  for (let cluster = Math.floor(offset / clusterSize); cluster <= last; cluster++) {
    if (check.references.increment(cluster)) counted?.push(cluster)
    else reportOverflow(check, cluster)
  }
}

function reportOutside(check: CheckState, offset: number, length: number): void {
  check.flagsPlain = false
  const what = 'counting reference for region exceeding the end of the file by one cluster or more'
  const range = `offset 0x${offset.toString(16)} size 0x${length.toString(16)}`
  check.report.corruption(`ERROR: ${what}: ${range}`)
}

function reportOverflow(check: CheckState, cluster: number): void {
  check.flagsPlain = false
  const offset = (cluster * check.image.geometry.clusterSize).toString(16)
  check.report.corruption(`ERROR: overflow cluster offset=0x${offset}`)
  const cure = 'Use qemu-img amend to increase the refcount entry width or qemu-img convert to create a clean copy'
  check.report.note(`${cure} if the image cannot be opened for writing`)
}

/** Counts the L2 tables of an L1 table and what these map. */
async function countMapping(check: CheckState, l1: RootTable, active: boolean): Promise<void> {
  const { image, options } = check
  const { clusterSize } = image.geometry
  const tables = new Float64Array(l1.entries)
  let count = 0
  for (let index = 0; index < l1.entries; index++) {
    if (l1.high(index) === 0 && l1.low(index) === 0) continue
    if (countL1Entry(check, l1, index, active)) tables[count++] = l1.offsetAt(index)
  }
  const offsets = tables.subarray(0, count)
  const list = { file: image.file, offsets, tableSize: clusterSize, signal: options.signal }
  try {
    await forEachTable(list, (index, view, at) => {
      countRange(check, offsets[index]!, clusterSize)
      check.l2Uses.increment(offsets[index]! / clusterSize)
      countTable(check, active, view, at, offsets[index]!)
      if (active && options.onProgress !== undefined && index % 16 === 0) options.onProgress(index, count)
      return undefined
    })
  } catch (error) {
    if (options.signal?.aborted !== true) check.report.failure('ERROR: I/O error in check_refcounts_l2')
    throw error
  }
}

/** Looks at an L1 entry; whether it has an L2 table that can be read, and is yet to be counted. */
function countL1Entry(check: CheckState, l1: RootTable, index: number, active: boolean): boolean {
  const { clusterSize } = check.image.geometry
  const hi = l1.high(index)
  const lo = l1.low(index)
  if ((hi & hiL1Reserved) !== 0 || (lo & loL1Reserved) !== 0) {
    const text = `found L1 entry with reserved bits set: ${hexField(hi, lo)}`
    const cleared = { hi: (hi & ~hiL1Reserved) >>> 0, lo: (lo & ~loL1Reserved) >>> 0 }
    const repair = { offset: l1.offset + index * entrySize, ...cleared, text, inL2: false }
    if (!check.postpone(repair)) check.report.corruption(`ERROR ${text}`)
  }
  const offset = l1.offsetAt(index)
  if (offset === 0) return false
  if (active && (hi & hiCopied) === 0) check.flagsPlain = false
  if (!isAligned(offset, clusterSize)) {
    check.flagsPlain = false
    countRange(check, offset, clusterSize)
    check.report.corruption(`ERROR l2_offset=${offset.toString(16)}: Table is not cluster aligned; L1 entry corrupted`)
    return false
  }
  if (Number.isSafeInteger(offset) && offset < check.fileSize) return true
  countRange(check, offset, clusterSize)
  return false
}

/**
 * Counts what the entries of an L2 table refer to. The table stands at `tableOffset` in the file and at byte `at` of
 * `view`.
 */
function countTable(check: CheckState, active: boolean, view: DataView, at: number, tableOffset: number): void {
  const { clusterSize, l2EntrySize, external, extended } = check.image.geometry
  const words = new Uint32Array(view.buffer, view.byteOffset + at, clusterSize / 4)
  const step = l2EntrySize / 4
  const unaligned = (clusterSize - 1) & loOffset
  // Where the next data cluster stands if nothing is fragmented; 0: unknown.
  let expected = 0
  let allocated = 0
  let fragmented = 0
  let uncopied = 0
  for (let i = 0; i < words.length; i += step) {
    const rawHi = words[i]!
    if (extended && !checkSubclusters(check, view, at + i * 4, i / step)) continue
    if (rawHi === 0 && words[i + 1] === 0) continue
    const hi = bigEndianWord(rawHi)
    const lo = bigEndianWord(words[i + 1]!)
    if ((hi & (hiCompressed | hiL2Reserved)) !== 0 || (lo & (loL2Reserved | unaligned)) !== 0) {
      const zero = extended ? view.getUint32(at + i * 4 + ExtendedEntry.allocated) === 0 : (lo & loZero) !== 0
      if (countSpecial(check, { active, hi, lo, zero, offset: tableOffset + i * 4, index: i / step })) continue
    }
    const offset = offsetOf(hi, lo)
    if (offset === 0 && !(external && kindOf(check.image.geometry, hi, lo) === Kind.normal)) continue
    let run = 1
    for (let next = lo + clusterSize; words[i + step] === rawHi && next <= 0xffffffff; next += clusterSize) {
      if (words[i + step + 1] !== bigEndianWord(next)) break
      if (extended && !checkSubclusters(check, view, at + (i + step) * 4, i / step + 1)) break
      run++
      i += step
    }
    allocated += run
    if (expected !== 0 && offset !== expected) fragmented++
    expected = offset + run * clusterSize
    if ((hi & hiCopied) === 0) uncopied++
    // Those of an external data file have no counts.
    if (!external) countRun(check, offset, run)
  }
  if (!active) return
  check.report.allocatedClusters += allocated
  check.report.fragmentedClusters += fragmented
  if (uncopied > 0) check.flagsPlain = false
}

/** Counts `run` data clusters that stand in a row. */
function countRun(check: CheckState, offset: number, run: number): void {
  const { clusterSize } = check.image.geometry
  const start = offset / clusterSize
  let counted = 0
  if (Number.isSafeInteger(start) && offset + (run - 1) * clusterSize < check.fileSize) {
    counted = check.references.incrementRun(start, run)
  }
  for (; counted < run; counted++) countRange(check, offset + counted * clusterSize, clusterSize)
}

/** An L2 entry, and where it stands in the file and in its table. */
interface SpecialEntry {
  readonly active: boolean
  readonly hi: number
  readonly lo: number
  /** Nothing is read from its cluster. */
  readonly zero: boolean
  readonly offset: number
  readonly index: number
}

/** Whether the bitmap of the extended entry at byte `at` of `view` can be; an entry without a cluster is not counted. */
function checkSubclusters(check: CheckState, view: DataView, at: number, index: number): boolean {
  const hi = view.getUint32(at)
  const lo = view.getUint32(at + 4)
  const zero = view.getUint32(at + ExtendedEntry.zero)
  const allocated = view.getUint32(at + ExtendedEntry.allocated)
  const { geometry } = check.image
  if ((hi & hiCompressed) !== 0) {
    if (zero === 0 && allocated === 0) return true
    const entry = `entry=0x${hexField(hi, lo)}`
    check.report.corruption(`ERROR compressed cluster ${index} with non-zero subcluster allocation bitmap, ${entry}`)
    return false
  }
  if (kindOf(geometry, hi, lo) === Kind.unallocated) {
    if (allocated === 0) return true
    check.report.corruption('ERROR: Unallocated cluster has non-zero subcluster allocation map')
    return false
  }
  if ((zero & allocated) === 0) return true
  const offset = offsetOf(hi, lo).toString(16)
  check.report.corruption(`ERROR offset=${offset}: Allocated cluster has corrupted subcluster allocation bitmap`)
  return true
}

/** An entry that is compressed, not aligned, or has reserved bits set; whether nothing is left to be done for it. */
function countSpecial(check: CheckState, entry: SpecialEntry): boolean {
  const { active, hi, lo, zero, offset: entryOffset, index } = entry
  if ((hi & hiCompressed) !== 0) {
    if (check.image.geometry.external) {
      check.report.corruption(`ERROR compressed cluster ${index} with data file, entry=0x${hexField(hi, lo)}`)
    } else countCompressed(check, active, hi, lo, entryOffset)
    return true
  }
  if ((hi & hiL2Reserved) !== 0 || (lo & loL2Reserved) !== 0) {
    const text = `found l2 entry with reserved bits set: ${hexField(hi, lo)}`
    const cleared = { hi: (hi & ~hiL2Reserved) >>> 0, lo: (lo & ~loL2Reserved) >>> 0 }
    if (!check.postpone({ offset: entryOffset, ...cleared, text, inL2: true })) {
      check.report.corruption(`ERROR ${text}`)
    }
  }
  const offset = offsetOf(hi, lo)
  if (isAligned(offset, check.image.geometry.clusterSize)) return false
  check.flagsPlain = false
  const corrupted = 'cluster is not properly aligned; L2 entry corrupted.'
  if (!zero) {
    check.report.corruption(`ERROR offset=${offset.toString(16)}: Data ${corrupted}`)
    return false
  }
  const text = `offset=${offset.toString(16)}: Preallocated ${corrupted}`
  if (check.postpone({ offset: entryOffset, hi: 0, lo: check.image.geometry.extended ? 0 : loZero, text, inL2: true }))
    return true
  check.report.corruption(`ERROR ${text}`)
  return false
}

function countCompressed(check: CheckState, active: boolean, hi: number, lo: number, entryOffset: number): void {
  const { offset, length } = compressedDescriptor(check.image.geometry, hi, lo)
  if ((hi & hiCopied) !== 0) {
    const text = `coffset=0x${offset.toString(16)}: copied flag must never be set for compressed clusters`
    const repair = { offset: entryOffset, hi: (hi & ~hiCopied) >>> 0, lo, text, inL2: true }
    if (!check.postpone(repair)) check.report.corruption(`ERROR: ${text}`)
  }
  countRange(check, offset, length)
  if (!active) return
  check.flagsPlain = false
  check.report.allocatedClusters++
  check.report.compressedClusters++
  check.report.fragmentedClusters++
}
