/**
 * Reading the bitmaps of an image, and storing them.
 *
 *     header extension → directory → table of each bitmap → clusters of bits
 *
 * While an image is open for writing, all of its bitmaps are marked on disk as in use: what a crash leaves is
 * inconsistent, and nobody trusts it. Marks are made in place, before the first change, and are flushed. When bitmaps are stored,
 * what has changed goes into new clusters with a new directory, and one write of the header puts that in charge: a crash leaves
 * the old directory with its marks or the new one, and leaked clusters at worst. Where no bit has changed, the marks
 * are taken away in place: every entry is right with its mark and without.
 *
 * All of it runs under the image's mutex.
 */
import { DirtyBitmap } from '@diskgraph/core/driver'
import { encodeText, refuse } from '../bytes.ts'
import { withExtension } from '../header/extensions.ts'
import { serializeHeader } from '../header/header.ts'
import {
  AutoclearBit,
  BitmapFlag,
  ExtensionType,
  maxBitmapDirectorySize,
  maxBitmapSize,
  maxBitmaps,
  withFeature,
} from '../header/layout.ts'
import { Claims } from '../refcounts/claims.ts'
import type { Qcow2State } from '../state.ts'
import { bitClusters, clustersFor, loadBits, writeBits } from '../tables/bitmap-bits.ts'
import {
  directoryRange,
  isUsable,
  readDirectory,
  type StoredBitmap,
  serializeDirectory,
  serializeExtension,
} from '../tables/bitmap-directory.ts'
import { type FileRange, Structure } from '../tables/overlap.ts'

const nowhere: FileRange = { offset: 0, length: 0 }

/**
 * Reads the directory that `extension` points to and, unless the image is only looked at, the bits of all bitmaps.
 * EINVAL with the reason when they are damaged.
 */
export async function loadBitmaps(state: Qcow2State, extension: Uint8Array, withBits: boolean): Promise<void> {
  const { file, geometry, size } = state
  const { clusterSize } = geometry
  state.overlap.bitmapDirectory = directoryRange(extension, clusterSize)
  const stored = await readDirectory(file, extension, clusterSize)
  if (withBits) {
    const source = { file, clusterSize, unread: file.size }
    for (const [index, one] of stored.entries()) {
      const bitmap = new DirtyBitmap(size, 2 ** one.granularityBits, one.name)
      bitmap.persistent = true
      if (isUsable(one)) await loadBits(source, one, bitmap)
      else bitmap.inconsistent = true
      bitmap.enabled = !bitmap.inconsistent && (one.flags & BitmapFlag.auto) !== 0
      stored[index] = { ...one, bitmap, storedChanges: bitmap.changes }
    }
  }
  state.bitmaps = stored
}

/** Marks all bitmaps as in use, on disk, and makes that safe. */
export async function markInUse(state: Qcow2State): Promise<void> {
  const marked = state.bitmaps.map((one) => {
    // What is no program's business here stays as it is, unless it is to follow what is written.
    const foreign = !isUsable(one) && (one.flags & BitmapFlag.auto) === 0
    return foreign ? one : { ...one, flags: one.flags | BitmapFlag.inUse }
  })
  await rewriteFlags(state, marked)
}

/** Stores all bitmaps, none of which is in use then. */
export async function storeBitmaps(state: Qcow2State): Promise<void> {
  const { bitmaps } = state
  if (bitmaps.every((one) => !isChanged(one))) return rewriteFlags(state, bitmaps.map(settled))
  const replaced = bitmaps.filter((one) => isChanged(one) && one.tableOffset > 0)
  const old = await clustersOf(state, replaced)
  await replaceDirectory(state, async (claims) => {
    const next: StoredBitmap[] = []
    // In QEMU's order: those that were there, and then what is new, the youngest first.
    const isNew = ({ tableOffset }: StoredBitmap): boolean => tableOffset === 0
    for (const one of [...bitmaps.filter((old) => !isNew(old)), ...bitmaps.filter(isNew).reverse()]) {
      if (!isChanged(one)) next.push(settled(one))
      else next.push({ ...settled(one), ...(await writeOne(state, one.bitmap as DirtyBitmap, claims)) })
    }
    return next
  })
  await free(state, old)
}

/** Takes bitmaps out of the image, which is written at once where they are in it. */
export async function removeBitmaps(state: Qcow2State, removed: readonly StoredBitmap[]): Promise<void> {
  const rest = state.bitmaps.filter((one) => !removed.includes(one))
  const onDisk = removed.filter(({ tableOffset }) => tableOffset > 0)
  if (onDisk.length > 0) {
    const old = await clustersOf(state, onDisk)
    await replaceDirectory(state, async () => rest)
    await free(state, old)
  } else state.bitmaps = rest
}

/** Adds a bitmap, to be stored later. EINVAL, ENOTSUP, EFBIG or ENOSPC when it cannot be stored. */
export function addBitmap(state: Qcow2State, bitmap: DirtyBitmap): StoredBitmap {
  const { bitmaps, header, geometry } = state
  if (header.value.version < 3) refuse('ENOTSUP', 'Cannot store dirty bitmaps in qcow2 v2 files')
  if (bitmaps.length >= maxBitmaps) refuse('EFBIG', 'Maximum number of persistent bitmaps is already reached')
  const bytes = clustersFor(bitmap, geometry.clusterSize) * geometry.clusterSize
  if (bytes === 0) refuse('EINVAL', 'the disk is empty: there is nothing to record')
  if (bytes > maxBitmapSize) refuse('EFBIG', 'Too much space will be occupied by the bitmap. Use larger granularity')
  const name = bitmap.name as string
  const added: StoredBitmap = {
    name,
    nameBytes: encodeText(name),
    granularityBits: Math.log2(bitmap.granularity),
    flags: 0,
    tableOffset: 0,
    tableEntries: 0,
    extraData: new Uint8Array(0),
    bitmap,
    storedChanges: -1,
  }
  const next = [...bitmaps, added]
  if (serializeDirectory(next).byteLength > maxBitmapDirectorySize) {
    refuse('EFBIG', 'Not enough space in the bitmap directory')
  }
  // It has no place yet, but as much room as it will need.
  serializeHeader({ ...header.value, extensions: extensionsWith(state, next, nowhere) })
  state.bitmaps = next
  return added
}

/** Whether the bits on disk are others than those in memory. */
function isChanged({ bitmap, storedChanges }: StoredBitmap): boolean {
  return bitmap !== undefined && bitmap.changes !== storedChanges
}

/** As it is to stand on disk when its bits do. */
function settled(one: StoredBitmap): StoredBitmap {
  const { bitmap, flags } = one
  if (bitmap === undefined || bitmap.inconsistent) return one
  const kept = flags & BitmapFlag.extraDataCompatible
  return { ...one, flags: kept | (bitmap.enabled ? BitmapFlag.auto : 0), storedChanges: bitmap.changes }
}

async function writeOne(
  state: Qcow2State,
  bitmap: DirtyBitmap,
  claims: Claims,
): Promise<{ readonly tableOffset: number; readonly tableEntries: number }> {
  const { clusterSize } = state.geometry
  return writeBits(
    {
      clusterSize,
      allocate: (clusters) => claims.allocate(clusters),
      write: (offset, bytes) => guarded(state, Structure.none, offset, bytes),
    },
    bitmap,
  )
}

async function guarded(state: Qcow2State, own: number, offset: number, bytes: Uint8Array): Promise<void> {
  const refusal = state.overlap.check(own, offset, bytes.byteLength)
  if (refusal !== undefined) await refusal
  await state.file.write(offset, bytes)
}

/** Writes the directory in place with the flags of `bitmaps`, which are those of the image in other respects. */
async function rewriteFlags(state: Qcow2State, bitmaps: readonly StoredBitmap[]): Promise<void> {
  const stored = bitmaps.filter(({ tableOffset }) => tableOffset > 0)
  if (stored.some((one, index) => one.flags !== onDisk(state)[index]?.flags)) {
    const { offset } = state.overlap.bitmapDirectory
    await guarded(state, Structure.bitmapDirectory, offset, serializeDirectory(stored))
    await state.store.flushFile()
  }
  state.bitmaps = bitmaps
}

function onDisk(state: Qcow2State): readonly StoredBitmap[] {
  return state.bitmaps.filter(({ tableOffset }) => tableOffset > 0)
}

/** Puts a directory of what `prepare` returns in charge, or leaves everything as it was. */
async function replaceDirectory(
  state: Qcow2State,
  prepare: (claims: Claims) => Promise<readonly StoredBitmap[]>,
): Promise<void> {
  const old = state.overlap.bitmapDirectory
  const claims = new Claims(state)
  let next: readonly StoredBitmap[]
  let range = nowhere
  try {
    next = await prepare(claims)
    const stored = next.filter(({ tableOffset }) => tableOffset > 0)
    if (stored.length > 0) {
      const bytes = serializeDirectory(stored)
      const offset = await claims.allocate(Math.ceil(bytes.byteLength / state.geometry.clusterSize))
      range = { offset, length: bytes.byteLength }
      await guarded(state, Structure.none, offset, bytes)
    }
    await state.commitMetadata()
    await state.store.flushFile()
    await state.header.update({
      autoclearFeatures: withFeature(state.header.value.autoclearFeatures, AutoclearBit.bitmaps, stored.length > 0),
      extensions: extensionsWith(state, stored, range),
    })
  } catch (error) {
    await claims.giveBack()
    throw error
  }
  state.bitmaps = next
  state.overlap.bitmapDirectory = range
  if (old.length > 0) state.frees.add(old.offset, old.length, 'other')
}

function extensionsWith(state: Qcow2State, bitmaps: readonly StoredBitmap[], range: FileRange) {
  const data = bitmaps.length === 0 ? undefined : serializeExtension(bitmaps.length, range)
  return withExtension(state.header.value.extensions, ExtensionType.bitmaps, data)
}

/** The ranges of the file that `bitmaps` take. */
async function clustersOf(state: Qcow2State, bitmaps: readonly StoredBitmap[]): Promise<FileRange[]> {
  const { file, geometry } = state
  const ranges: FileRange[] = []
  for (const one of bitmaps) {
    if (one.tableOffset >= file.size) continue
    ranges.push({ offset: one.tableOffset, length: Math.min(one.tableEntries * 8, file.size - one.tableOffset) })
    for (const offset of await bitClusters(file, geometry.clusterSize, one)) {
      ranges.push({ offset, length: geometry.clusterSize })
    }
  }
  return ranges
}

/** Gives up what nothing points to any more. */
async function free(state: Qcow2State, ranges: readonly FileRange[]): Promise<void> {
  for (const { offset, length } of ranges) state.frees.add(offset, length, 'other')
  await state.commitMetadata()
}
