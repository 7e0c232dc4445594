/** An open qcow2 image: the operations of this folder as the methods that the core calls. */

import { blockStatus, readRange, writeRange, zeroRange } from '@diskgraph/clusters'
import {
  type AmendRequest,
  BlockError,
  type BlockStatus,
  type CheckOptions,
  type CompactOptions,
  type CompactResult,
  type DriverInfo,
  done,
  errorCodeOf,
  Flag,
  type ImageCheck,
  type InfoValue,
  type Limits,
  type OpenImage,
  type Prepared,
  type ReopenChange,
  type TruncateOptions,
  toBlockError,
  type VmState,
} from '@diskgraph/core/driver'
import { makeEmpty, truncate } from './amend/resize.ts'
import { decodeText } from './bytes.ts'
import { writeCompressed } from './compressed/write.ts'
import { findExtension } from './header/extensions.ts'
import { withBacking } from './header/header.ts'
import {
  AutoclearBit,
  BitmapFlag,
  CompatibleBit,
  CompressionType,
  CryptMethod,
  ExtensionType,
  hasFeature,
  IncompatibleBit,
} from './header/layout.ts'
import { seldom } from './lazy.ts'
import { growL1 } from './mapping/active-tables.ts'
import { discardRange } from './mapping/changes.ts'
import { activate, checkWritable } from './open.ts'
import { runtimeOptions } from './options.ts'
import { Qcow2Snapshots } from './snapshots/snapshots.ts'
import type { Qcow2State } from './state.ts'
import { Qcow2Bitmaps } from './stored-bitmaps.ts'
import type { StoredBitmap } from './tables/bitmap-directory.ts'

/** See the top of this file. */
export class Qcow2Image implements OpenImage {
  readonly writeFlags = Flag.Compressed | Flag.Unchanged
  readonly zeroFlags = Flag.MayUnmap | Flag.NoFallback | Flag.Unchanged
  readonly limits: Partial<Limits>
  readonly snapshots: Qcow2Snapshots
  readonly vmState: VmState
  readonly bitmaps: Qcow2Bitmaps
  private readonly state: Qcow2State
  /** The image was reopened for writing: what has to happen before the first write has not happened yet. */
  private inactive = false
  private activating: Promise<void> | undefined
  private stopCleaner: (() => void) | undefined

  constructor(state: Qcow2State) {
    this.state = state
    const { clusterSize } = state.geometry
    this.limits = {
      alignment: state.cipher === undefined ? 1 : 512,
      discardAlignment: clusterSize,
      optimalTransfer: clusterSize,
    }
    const prepare = (): Promise<void> => (this.inactive ? this.activate() : done)
    this.snapshots = new Qcow2Snapshots(state, prepare)
    this.vmState = new Qcow2VmState(state, prepare)
    this.bitmaps = new Qcow2Bitmaps(state, prepare)
    this.startCleaner()
  }

  get size(): number {
    return this.state.size
  }

  /** Preallocated clusters of an encrypted image are decrypted noise. */
  get zeroInit(): boolean {
    const { cipher, dataFile, store } = this.state
    const plain = cipher === undefined && (dataFile === undefined || dataFile.zeroInit)
    return plain || store.l1.entries === 0 || store.l1.offsetAt(0) === 0
  }

  read(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    return readRange(this.state, offset, buf, signal)
  }

  write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    if (this.inactive) return this.activate().then(() => this.write(offset, buf, flags, signal))
    if ((flags & Flag.Compressed) !== 0 && this.state.cipher === undefined)
      return writeCompressed(this.state, offset, buf, signal)
    return writeRange(this.state, offset, buf, signal)
  }

  async writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    if (this.inactive) await this.activate()
    return zeroRange(this.state, offset, length, flags, signal)
  }

  async discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    if (this.inactive) await this.activate()
    return discardRange(this.state, offset, length, { full: false, reason: 'request' }, signal)
  }

  async flush(): Promise<void> {
    const { state } = this
    if (state.readOnly) return
    if (state.corruption.broken && !state.store.mappingDirty) return
    if (state.header.unsure) await state.exclusively(() => state.header.restore())
    const { store, frees, discards } = state
    if (!store.mappingDirty && !store.refcountsDirty && frees.empty && !discards.pending) return
    state.checkUsable()
    await state.flushMetadata()
  }

  blockStatus(offset: number, length: number, signal?: AbortSignal): Promise<BlockStatus> {
    return blockStatus(this.state, offset, length, signal)
  }

  async mappingLost(offset: number, length: number): Promise<{ lost: boolean; length: number }> {
    const { mappingLost } = await seldom()
    return mappingLost(this.state, offset, length)
  }

  async truncate(size: number, options: TruncateOptions, signal?: AbortSignal): Promise<void> {
    if (this.inactive) await this.activate()
    return truncate(this.state, size, options, signal)
  }

  async close(): Promise<void> {
    this.stopCleaner?.()
    const { state } = this
    if (state.readOnly || this.inactive || state.corruption.broken) return
    await this.settle()
  }

  /** Writes everything, so that nothing has to be written again before the next change. */
  private settle(): Promise<void> {
    const { state } = this
    return state.exclusively(async () => {
      try {
        await this.bitmaps.store()
      } catch (error) {
        const lost = `Lost persistent bitmaps during inactivation of node '${state.host.nodeName}'`
        throw new BlockError(errorCodeOf(error), `${lost}: ${toBlockError(error).message}`, { cause: error })
      } finally {
        await state.makeClean()
      }
      await state.allocations.completeLast()
    })
  }

  async invalidateCache(): Promise<void> {
    this.state.store.l2.invalidate()
    this.state.store.blocks.invalidate()
    this.state.compressed.clear()
  }

  info(): Promise<DriverInfo> {
    return imageInfo(this.state)
  }

  async check(options: CheckOptions): Promise<ImageCheck> {
    if (this.inactive && options.repair !== 'none') await this.activate()
    await this.state.store.loadRefcountTable()
    const { checkImage } = await seldom()
    return checkImage(this.state, options)
  }

  async amend(request: AmendRequest): Promise<void> {
    if (this.inactive) await this.activate()
    const { amendImage } = await seldom()
    return amendImage(this.state, request)
  }

  async compact(options: CompactOptions): Promise<CompactResult> {
    if (this.inactive) await this.activate()
    const { compactImage } = await seldom()
    return compactImage(this.state, options)
  }

  async changeBacking(filename: string | undefined, format: string | undefined): Promise<void> {
    if (this.inactive) await this.activate()
    const { state } = this
    state.checkUsable()
    if (filename !== undefined && state.rawData) throw new BlockError('EINVAL', rawWithoutBacking)
    // What is to show without the old backing file is in the image before the image forgets it.
    await this.flush()
    await state.file.flush()
    const changed = withBacking(state.header.value, filename, format)
    await state.exclusively(() => state.header.update(changed))
  }

  async makeEmpty(): Promise<void> {
    if (this.inactive) await this.activate()
    return makeEmpty(this.state)
  }

  async reopen(change: ReopenChange): Promise<Prepared> {
    const { state } = this
    const opens = state.readOnly && !change.readOnly
    if (opens) checkWritable(state.header.value, false)
    const options = runtimeOptions(change.options, state.geometry, state.size, change.discard === 'unmap')
    if (!state.readOnly && !this.inactive) {
      if (change.readOnly) await this.settle()
      else if (options.l2SliceSize !== state.options.l2SliceSize) await state.exclusively(() => state.commitMetadata())
    }
    const closes = !state.readOnly && change.readOnly
    return {
      commit: () => {
        state.applyOptions(options, change.readOnly)
        if (opens) this.inactive = true
        this.startCleaner()
      },
      abort: () => {
        // Bitmaps are stored, and not marked as in use any more.
        if (closes) this.inactive = true
      },
    }
  }

  /** Does once what must come before the first write. */
  private activate(): Promise<void> {
    this.activating ??= activate(this.state)
      .then(() => {
        this.inactive = false
      })
      .finally(() => {
        this.activating = undefined
      })
    return this.activating
  }

  /** Drops cached tables that nobody uses any more, now and then. */
  private startCleaner(): void {
    this.stopCleaner?.()
    const { cacheCleanInterval } = this.state.options
    if (cacheCleanInterval === 0) return
    const milliseconds = Math.min(cacheCleanInterval * 1000, 0x7fffffff)
    this.stopCleaner = this.state.host.clock.interval(milliseconds, () => {
      this.state.store.l2.clean()
      this.state.store.blocks.clean()
    })
  }
}

/** An image that can only be looked at: its key is missing, or its external data file. */
export class InspectedImage implements OpenImage {
  private readonly state: Qcow2State

  constructor(state: Qcow2State) {
    this.state = state
  }

  get size(): number {
    return this.state.size
  }

  read(): Promise<void> {
    return Promise.reject(
      this.state.geometry.external
        ? new BlockError('EACCES', 'the external data file is not opened to look at the image')
        : new BlockError('EACCES', "Parameter 'encrypt.key-secret' is required for cipher"),
    )
  }

  info(): Promise<DriverInfo> {
    return imageInfo(this.state)
  }
}

/** The state of a virtual machine, kept behind the disk: from the first guest offset that no L2 table of the disk maps. */
class Qcow2VmState implements VmState {
  private readonly state: Qcow2State
  /** What has to be done before the image is first written. */
  private readonly prepare: () => Promise<void>

  constructor(state: Qcow2State, prepare: () => Promise<void>) {
    this.state = state
    this.prepare = prepare
  }

  async read(offset: number, buf: Uint8Array, signal?: AbortSignal): Promise<void> {
    const held = this.state.file.debugEvent('vmstate_load')
    if (held !== undefined) await held
    return readRange(this.state, vmStateOffset(this.state) + offset, buf, signal)
  }

  async write(offset: number, buf: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.prepare()
    const { state } = this
    const held = state.file.debugEvent('vmstate_save')
    if (held !== undefined) await held
    const start = vmStateOffset(state) + offset
    const entries = Math.ceil((start + buf.byteLength) / state.geometry.l2Span)
    if (entries > state.store.l1.entries) await state.exclusively(() => growL1(state, entries))
    return writeRange(state, start, buf, signal)
  }
}

/** The guest offset at which the VM state begins. */
function vmStateOffset(state: Qcow2State): number {
  const { l2Span } = state.geometry
  return Math.ceil(state.size / l2Span) * l2Span
}

/** The general part, and the format-specific part with the keys of QAPI's ImageInfoSpecificQCow2. */
async function imageInfo(state: Qcow2State): Promise<DriverInfo> {
  const header = state.header.value
  const data: Record<string, InfoValue | undefined> = {
    compat: header.version === 2 ? '0.10' : '1.1',
    compressionType: header.compressionType === CompressionType.zstd ? 'zstd' : 'zlib',
  }
  if (header.cryptMethod !== CryptMethod.none) {
    const more = state.cipher?.info() ?? (await (await seldom()).encryptionInfo(state.file, header))
    data.encrypt = { ...more, format: header.cryptMethod === CryptMethod.luks ? 'luks' : 'aes' }
  }
  if (hasFeature(header.incompatibleFeatures, IncompatibleBit.externalDataFile)) {
    const name = findExtension(header.extensions, ExtensionType.dataFile)
    data.dataFile = name && decodeText(name.data)
    data.dataFileRaw = hasFeature(header.autoclearFeatures, AutoclearBit.rawExternalData)
  }
  if (header.version >= 3) {
    data.lazyRefcounts = hasFeature(header.compatibleFeatures, CompatibleBit.lazyRefcounts)
    const stored = state.bitmaps.filter(({ tableOffset }) => tableOffset > 0)
    if (stored.length > 0) data.bitmaps = stored.map(bitmapInfo)
    data.refcountBits = state.geometry.refcountBits
    data.corrupt = state.header.corrupt
    data.extendedL2 = hasFeature(header.incompatibleFeatures, IncompatibleBit.extendedL2)
  } else {
    data.refcountBits = state.geometry.refcountBits
  }
  return {
    clusterSize: state.geometry.clusterSize,
    dirty: state.header.dirty,
    corrupt: state.header.corrupt,
    vmStateOffset: vmStateOffset(state),
    ...(header.cryptMethod === CryptMethod.none ? {} : { encrypted: true }),
    ...(header.backingFile === undefined ? {} : { backingFilename: header.backingFile }),
    ...(header.backingFormat === undefined ? {} : { backingFormat: header.backingFormat }),
    specific: { type: 'qcow2', data },
  }
}

const rawWithoutBacking = 'an image whose external data file is to read as the disk does has no backing file'

/** QAPI's Qcow2BitmapInfo. */
function bitmapInfo({ name, granularityBits, flags }: StoredBitmap): InfoValue {
  const names = [
    ...((flags & BitmapFlag.inUse) !== 0 ? ['in-use'] : []),
    ...((flags & BitmapFlag.auto) !== 0 ? ['auto'] : []),
  ]
  return { flags: names, name, granularity: 2 ** granularityBits }
}
