/**
 * Changing what was chosen when an image was created: version, width of refcounts, lazy refcounts, size. Everything
 * is checked before anything is changed; an upgrade comes first and a downgrade last, as the rest may need version 3.
 */
import { type AmendRequest, BlockError } from '@diskgraph/core/driver'
import type { SlotOptions } from '@diskgraph/crypto'
import { removeBitmaps } from '../bitmaps/store.ts'
import { encodeText } from '../bytes.ts'
import { withExtension } from '../header/extensions.ts'
import { withBacking } from '../header/header.ts'
import { AutoclearBit, CompatibleBit, ExtensionType, refcountOrderV2, withFeature } from '../header/layout.ts'
import type { Qcow2State } from '../state.ts'
import { changeRefcountWidth, orderOf } from './refcount-width.ts'
import { truncate } from './resize.ts'
import { checkDowngrade, downgrade, upgrade } from './version.ts'

/** What is to be after an amendment. */
interface Target {
  readonly version: 2 | 3
  readonly refcountOrder: number
  readonly lazyRefcounts: boolean | undefined
  readonly size: number | undefined
}

/**
 * Applies create options to an open image. Runs drained. EINVAL or ENOTSUP, with QEMU's texts, for what cannot be.
 */
export async function amendImage(state: Qcow2State, request: AmendRequest): Promise<void> {
  state.checkUsable()
  if (state.readOnly) throw new BlockError('EROFS', 'the image is read-only and cannot be amended')
  const { options, signal, onProgress } = request
  const target = plan(state, options)
  const { value } = state.header
  const changesBacking = checkBacking(state, request)
  const parts = partsOf(state, target)
  let part = 0
  const progress = {
    signal,
    onProgress: (done: number, total: number) => onProgress?.(part + (total === 0 ? 0 : done / total), parts),
  }
  await state.exclusively(async () => {
    await state.makeClean()
    if (target.version > value.version) {
      await upgrade(state)
      part++
    }
    if (target.refcountOrder !== value.refcountOrder) {
      await changeRefcountWidth(state, target.refcountOrder, progress)
      part++
    }
    if (changesBacking) {
      const { backingFile, backingFmt } = options as { backingFile?: string; backingFmt?: string }
      const name = backingFile ?? value.backingFile
      await state.header.update(
        withBacking(
          state.header.value,
          name,
          backingFmt ?? (backingFile === undefined ? value.backingFormat : undefined),
        ),
      )
    }
    if (target.lazyRefcounts !== undefined && target.version >= 3) await setLazy(state, target.lazyRefcounts)
    await setDataFile(state, options.dataFile as string | undefined, options.dataFileRaw as boolean | undefined)
    await state.store.flushFile()
  })
  if (options.encrypt !== undefined)
    await state.cipher!.amend(options.encrypt as SlotOptions, request.force === true, signal)
  if (target.size !== undefined && target.size !== state.size) await truncate(state, target.size, {}, signal)
  if (target.version < value.version) {
    await state.exclusively(async () => {
      await dropBitmaps(state)
      await state.makeClean()
      await downgrade(state, progress)
    })
  }
  if (parts > 0) onProgress?.(parts, parts)
}

/** Version 2 images store no bitmaps; those of a running program go on, and are lost when it ends. */
async function dropBitmaps(state: Qcow2State): Promise<void> {
  const { bitmaps } = state
  if (bitmaps.length === 0) return
  await removeBitmaps(state, bitmaps)
  for (const { bitmap } of bitmaps) if (bitmap !== undefined) bitmap.persistent = false
}

/** How many of the steps are told of. */
function partsOf(state: Qcow2State, target: Target): number {
  const { value } = state.header
  return Number(target.refcountOrder !== value.refcountOrder) + Number(target.version !== value.version)
}

/** Works out what is wanted, and refuses what cannot be. */
function plan(state: Qcow2State, options: AmendRequest['options']): Target {
  const { value } = state.header
  if (options.dataFile !== undefined && !state.geometry.external) {
    throw new BlockError('EINVAL', 'data-file can only be set for images that use an external data file')
  }
  if (options.dataFileRaw === true && !state.rawData) {
    throw new BlockError('EINVAL', 'data-file-raw cannot be set on existing images')
  }
  if (options.encrypt !== undefined && state.cipher === undefined) {
    throw new BlockError('EINVAL', "Can't amend encryption options - encryption not present")
  }
  const version = versionOf(options.compat) ?? value.version
  const bits = options.refcountBits as number | undefined
  const refcountOrder = bits === undefined ? value.refcountOrder : orderOf(bits)
  const lazyRefcounts = options.lazyRefcounts as boolean | undefined
  const size = options.size as number | undefined
  if (refcountOrder !== value.refcountOrder && refcountOrder !== refcountOrderV2 && version < 3) {
    const need = 'require compatibility level 1.1 or above (use compat=1.1 or greater)'
    throw new BlockError('EINVAL', `Refcount widths other than 16 bits ${need}`)
  }
  if (lazyRefcounts === true && version < 3) {
    const need = 'only supported with compatibility level 1.1 and above (use compat=1.1 or greater)'
    throw new BlockError('EINVAL', `Lazy refcounts ${need}`)
  }
  if (version < value.version) checkDowngrade(state, refcountOrder)
  if (size !== undefined && size % 512 !== 0) {
    throw new BlockError('EINVAL', 'The new size must be a multiple of 512')
  }
  if (size !== undefined && size !== state.size && version < 3 && state.snapshots.length > 0) {
    throw new BlockError('ENOTSUP', "Can't resize a v2 image which has snapshots")
  }
  return { version, refcountOrder, lazyRefcounts, size }
}

function versionOf(compat: unknown): 2 | 3 | undefined {
  if (compat === undefined) return undefined
  if (compat === '0.10' || compat === 'v2') return 2
  if (compat === '1.1' || compat === 'v3') return 3
  throw new BlockError('EINVAL', `Unknown compatibility level ${String(compat)}`)
}

/** Whether the backing reference is to change: QEMU leaves that to `rebase`, so it needs force. */
function checkBacking(state: Qcow2State, { options, force }: AmendRequest): boolean {
  const { backingFile: name, backingFormat: format } = state.header.value
  const wantedName = (options.backingFile as string | undefined) ?? name
  const wantedFormat = (options.backingFmt as string | undefined) ?? format
  if (wantedName === name && wantedFormat === format) return false
  if (force === true) return true
  throw new BlockError('EINVAL', 'Cannot amend the backing file', { hint: "You can use 'qemu-img rebase' instead." })
}

/** Changes the name of the external data file ('': none), and whether it has to read as the disk does. */
async function setDataFile(state: Qcow2State, name: string | undefined, raw: boolean | undefined): Promise<void> {
  if (name === undefined && raw === undefined) return
  const { extensions, autoclearFeatures } = state.header.value
  const data = name === '' ? undefined : encodeText(name ?? '')
  await state.header.update({
    extensions: name === undefined ? extensions : withExtension(extensions, ExtensionType.dataFile, data),
    autoclearFeatures:
      raw === false ? withFeature(autoclearFeatures, AutoclearBit.rawExternalData, false) : autoclearFeatures,
  })
}

async function setLazy(state: Qcow2State, lazy: boolean): Promise<void> {
  const { compatibleFeatures } = state.header.value
  await state.header.update({
    compatibleFeatures: withFeature(compatibleFeatures, CompatibleBit.lazyRefcounts, lazy),
  })
}
