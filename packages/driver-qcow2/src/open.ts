/** Opening an image: from the bytes of a file to a state that can be used, or one clear error. */
import { rawDeflate, zstd } from '@diskgraph/codecs'
import { BlockError, type ChildHandle, errorCodeOf, type OpenContext, toBlockError } from '@diskgraph/core/driver'
import { decodeText, refuse } from './bytes.ts'
import { findExtension, withExtension } from './header/extensions.ts'
import { type Header, headerRegion, parseHeader } from './header/header.ts'
import {
  AutoclearBit,
  CompressionType,
  CryptMethod,
  ExtensionType,
  geometryOf,
  hasFeature,
  IncompatibleBit,
  withFeature,
} from './header/layout.ts'
import { seldom } from './lazy.ts'
import { type Qcow2Encryption, type RuntimeOptions, runtimeOptions } from './options.ts'
import { loadSnapshotTable } from './snapshots/snapshots.ts'
import { Qcow2State } from './state.ts'
import { readTable } from './tables/root-table.ts'

/** Most headers end in this many bytes, so that one read is enough. */
const usualHeader = 4096

/** Reads the header of `file`; to be checked, it may have faults that a repair takes away. */
async function readHeader(file: ChildHandle, check = false): Promise<Header> {
  let region = await readStart(file, usualHeader)
  const needed = headerRegion(region)
  if (needed > usualHeader) region = await readStart(file, needed)
  return parseHeader(region, file.size, check)
}

/** The first `length` bytes, zero behind the end of the file. */
async function readStart(file: ChildHandle, length: number): Promise<Uint8Array> {
  const start = new Uint8Array(length)
  const inside = Math.min(length, file.size)
  if (inside > 0) await file.read(0, start.subarray(0, inside))
  return start
}

/** Opens an image that is in a state to be used; repairs and marks on disk are the business of `activate`. */
export async function openState(context: OpenContext): Promise<Qcow2State> {
  const file = context.children.require('file')
  const header = await readHeader(file, context.check)
  if (!context.inspect) checkOptions(header, context)
  if (!context.readOnly && !context.inspect) checkWritable(header, context.check)
  const geometry = geometryOf(header.clusterBits, header.refcountOrder, header.incompatibleFeatures)
  const options = runtimeOptions(context.options, geometry, header.size, context.discard === 'unmap')
  if (header.version < 3) refuseVersion2(options)
  const l1 = await reading('L1 table', () => readTable(file, header.l1TableOffset, header.l1Size))
  const dataFile = await openDataFile(context, header)
  await openBacking(context, header)
  const encrypted = header.cryptMethod !== CryptMethod.none && !context.keyless
  const encryption = encrypted ? await (await seldom()).openEncryption(context, header) : undefined
  const state = new Qcow2State({
    file,
    dataFile,
    encryption,
    header,
    l1,
    options,
    host: context,
    codec: header.compressionType === CompressionType.zstd && !context.inspect ? await zstd() : rawDeflate,
    readOnly: context.readOnly,
    backing: () => context.children.get('backing'),
  })
  if (!context.readOnly && !context.inspect) await state.store.loadRefcountTable()
  try {
    await loadSnapshotTable(state)
  } catch (error) {
    if (!context.check) throw error
  }
  await openBitmaps(state, context)
  return state
}

/** Reads the bitmaps that the image stores. Those that a writer without knowledge of them has left behind are none. */
async function openBitmaps(state: Qcow2State, context: OpenContext): Promise<void> {
  const { version, extensions, autoclearFeatures } = state.header.value
  const extension = findExtension(extensions, ExtensionType.bitmaps)
  if (extension === undefined) return
  if (!hasFeature(autoclearFeatures, AutoclearBit.bitmaps)) {
    context.warn(version < 3 ? bitmapsOfVersion2 : bitmapsLeftBehind)
    return
  }
  const { loadBitmaps } = await seldom()
  try {
    await loadBitmaps(state, extension.data, !context.inspect && !context.check)
  } catch (error) {
    if (!context.check) throw error
    state.bitmapFault = toBlockError(error).message
  }
}

const checkHint = "Some clusters may be leaked, run 'qemu-img check -r' on the image file to fix."
const bitmapsLeftBehind = `a program lacking bitmap support modified this file, so all bitmaps are now considered inconsistent
${checkHint}`
const bitmapsOfVersion2 = `This qcow2 v2 image contains bitmaps, but they may have been modified by a program without persistent bitmap support; so now they must all be considered inconsistent
${checkHint}`

async function reading<Result>(what: string, read: () => Promise<Result>): Promise<Result> {
  try {
    return await read()
  } catch (error) {
    throw new BlockError(errorCodeOf(error), `Could not read qcow2 ${what}`, { cause: error })
  }
}

function checkOptions(header: Header, context: OpenContext): void {
  const format = (context.options.encrypt as Qcow2Encryption | undefined)?.format
  if (format !== undefined && header.cryptMethod === CryptMethod.none) {
    refuse('EINVAL', `No encryption in image header, but options specified format '${format}'`)
  }
}

/** The external data file: that of the options, or the one that the image names. Nobody reads it to inspect the image. */
async function openDataFile(context: OpenContext, header: Header): Promise<ChildHandle | undefined> {
  const given = context.children.get('dataFile')
  if (!hasFeature(header.incompatibleFeatures, IncompatibleBit.externalDataFile)) {
    if (given !== undefined) {
      refuse('EINVAL', "'data-file' can only be set for images with an external data file")
    }
    return undefined
  }
  const name = findExtension(header.extensions, ExtensionType.dataFile)
  if (given !== undefined || context.inspect) return given
  const reference = { filename: decodeText(name?.data ?? new Uint8Array(0)), format: 'raw', part: true }
  const named = reference.filename === '' ? undefined : await context.reference('dataFile', reference)
  return named ?? refuse('EINVAL', "'data-file' is required for this image")
}

function refuseVersion2(options: RuntimeOptions): void {
  if (options.lazyRefcounts === true) {
    refuse('EINVAL', 'Lazy refcounts require a qcow2 image with at least qemu 1.1 compatibility level')
  }
  if (options.discardNoUnref) refuse('EINVAL', 'discard-no-unref is only supported since qcow2 version 3')
}

/** Refuses to write to an image that is marked as corrupt, unless it is to be repaired. */
export function checkWritable(header: Header, repair: boolean): void {
  if (hasFeature(header.incompatibleFeatures, IncompatibleBit.corrupt) && !repair) {
    refuse('EACCES', 'qcow2: Image is corrupt; cannot be opened read/write')
  }
}

async function openBacking(context: OpenContext, header: Header): Promise<void> {
  if (header.backingFile === undefined || context.inspect) return
  const { backingFile: filename, backingFormat } = header
  await context.reference('backing', backingFormat === undefined ? { filename } : { filename, format: backingFormat })
}

/**
 * Before the first write (but of a check): clears the feature bits that a writer has to clear, and takes in hand an image whose
 * refcounts were left unfinished.
 */
export async function activate(state: Qcow2State): Promise<void> {
  const { header } = state
  await state.store.loadRefcountTable()
  // What is left behind without the feature bit goes.
  const bitmaps = state.bitmaps.length > 0
  const kept = withFeature(0n, AutoclearBit.rawExternalData, state.rawData)
  const autoclearFeatures = withFeature(kept, AutoclearBit.bitmaps, bitmaps)
  const { extensions } = header.value
  const left = !bitmaps && findExtension(extensions, ExtensionType.bitmaps) !== undefined
  if (header.value.autoclearFeatures !== autoclearFeatures || left) {
    const known = bitmaps ? extensions : withExtension(extensions, ExtensionType.bitmaps, undefined)
    await header.update({ autoclearFeatures, extensions: known })
  }
  if (bitmaps) {
    const { markInUse } = await seldom()
    await state.exclusively(() => markInUse(state))
  }
  if (header.dirty) {
    const { repairDirty } = await seldom()
    await repairDirty(state)
  }
}
