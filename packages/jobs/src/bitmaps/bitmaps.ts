/** Named dirty bitmaps of nodes, with QEMU's rules and texts: what an incremental backup stands on. */
import { BlockError, type Change, type DirtyBitmap, type Graph, type Node } from '@diskgraph/core'
import { errorCodeOf } from '@diskgraph/core/driver'
import { checkSettings, due, rule } from '@diskgraph/core/internal'
import { inChange } from '../disk/chain.ts'

/** What {@link addBitmap} takes. */
export interface BitmapSettings {
  /** Unique on its node; 1 to 1,023 bytes. */
  readonly name: string
  /** Bytes per bit, a power of two from 512 to 2 GiB. Default: the cluster size of the node, 4 KiB to 64 KiB. */
  readonly granularity?: number | undefined
  /** It records nothing until it is enabled. Default false. */
  readonly disabled?: boolean | undefined
  /** It is to be stored in the image. ENOTSUP where that cannot be. */
  readonly persistent?: boolean | undefined
  /** Made in this change of the graph, which is under way. */
  readonly change?: Change | undefined
}

// What QEMU has words for is left to those.
const anything = rule('anything', () => true)
const rules = { name: anything, granularity: anything, disabled: due.flag, persistent: due.flag, change: anything }

const longestName = 1023
const largestGranularity = 2 ** 31

/** A bitmap that was added. */
export interface AddedBitmap {
  readonly bitmap: DirtyBitmap
  /** Takes it back, in the same change of the graph. */
  undo(): void
}

/** Starts to record what changes on `node`, while nothing is in flight there. */
export async function addBitmap(graph: Graph, node: Node, settings: BitmapSettings): Promise<AddedBitmap> {
  checkSettings('addBitmap', rules, settings)
  const { name, granularity, disabled = false, persistent = false, change } = settings
  if (typeof name !== 'string' || name === '') throw new BlockError('EINVAL', 'Bitmap name cannot be empty')
  if (granularity !== undefined && !isGranularity(granularity)) {
    throw new BlockError('EINVAL', 'Granularity must be power of 2 and at least 512')
  }
  if (new TextEncoder().encode(name).length > longestName) {
    throw new BlockError('EINVAL', `Bitmap name too long: ${name}`)
  }
  const { clusterSize = 65536 } = await node.info()
  const unit = granularity ?? Math.min(65536, Math.max(4096, clusterSize))
  return inChange(graph, change, async (own) => {
    await own.drain(node)
    if (node.dirtyBitmaps.some((one) => one.name === name)) {
      throw new BlockError('EEXIST', `Bitmap already exists: ${name}`)
    }
    const bitmap = node.addDirtyBitmap(unit, name)
    bitmap.enabled = !disabled
    try {
      const forget = persistent ? await storeBitmap(node, bitmap) : undefined
      const undo = (): void => {
        forget?.()
        node.removeDirtyBitmap(bitmap)
      }
      return { bitmap, undo }
    } catch (error) {
      node.removeDirtyBitmap(bitmap)
      throw error
    }
  })
}

/** Has the image of `node` store a bitmap from now on. */
async function storeBitmap(node: Node, bitmap: DirtyBitmap): Promise<() => void> {
  const { name } = bitmap
  if (node.readOnly)
    throw new BlockError('EPERM', `Can't make bitmap '${name}' persistent in '${node.name}': it is read-only`)
  const stored = node.image.bitmaps
  if (stored === undefined) {
    throw new BlockError('ENOTSUP', `Can't store persistent bitmaps to ${node.name}: Operation not supported`)
  }
  try {
    return await stored.add(bitmap)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new BlockError(errorCodeOf(error), `Can't make bitmap '${name}' persistent in '${node.name}': ${reason}`, {
      cause: error,
    })
  }
}

function isGranularity(value: number): boolean {
  return Number.isInteger(Math.log2(value)) && value >= 512 && value <= largestGranularity
}

/** The bitmap called `name`. ENOENT, with `message`, where there is none. */
export function findBitmap(node: Node, name: string, message?: string): DirtyBitmap {
  return node.bitmap(name, message)
}

/** As {@link findBitmap}, for one that is to be changed. */
function changeable(node: Node, name: string): DirtyBitmap {
  const bitmap = findBitmap(node, name)
  refuseBusyBitmap(bitmap)
  if (bitmap.persistent) refuseReadOnly(node, name)
  refuseInconsistent(bitmap)
  return bitmap
}

/** EBUSY while a job or an export uses `bitmap`. */
function refuseBusyBitmap({ busy, name }: DirtyBitmap): void {
  if (!busy) return
  throw new BlockError('EBUSY', `Bitmap '${name}' is currently in use by another operation and cannot be used`)
}

function refuseInconsistent({ inconsistent, name }: DirtyBitmap): void {
  if (!inconsistent) return
  throw new BlockError('EINVAL', `Bitmap '${name}' is inconsistent and cannot be used`, {
    hint: 'Try block-dirty-bitmap-remove to delete this bitmap from disk',
  })
}

/** EBUSY while a job or an export uses `bitmap`, EINVAL when nobody knows its bits. */
export function refuseUnusable(bitmap: DirtyBitmap): void {
  refuseBusyBitmap(bitmap)
  refuseInconsistent(bitmap)
}

/** Stops to record, and takes the bitmap out of the image that stores it; the result undoes that. The node is drained. */
export async function removeBitmap(node: Node, name: string): Promise<() => void> {
  const bitmap = findBitmap(node, name)
  refuseBusyBitmap(bitmap)
  if (bitmap.persistent) refuseReadOnly(node, name)
  const restore = bitmap.persistent ? await node.image.bitmaps?.remove(bitmap) : undefined
  const putBack = node.removeDirtyBitmap(bitmap)
  return () => {
    restore?.()
    putBack()
  }
}

function refuseReadOnly(node: Node, name: string): void {
  if (node.readOnly) {
    throw new BlockError('EPERM', `Bitmap '${name}' is readonly and cannot be modified`, { node: node.name })
  }
}

/** Marks everything as unchanged. The node is drained. */
export async function clearBitmap(node: Node, name: string): Promise<void> {
  const bitmap = changeable(node, name)
  await node.image.bitmaps?.prepare()
  bitmap.clear(0, bitmap.size)
}

/** Lets it record (true) or keep what it has (false). The node is drained. */
export async function enableBitmap(node: Node, name: string, enabled: boolean): Promise<void> {
  const bitmap = changeable(node, name)
  await node.image.bitmaps?.prepare()
  bitmap.enabled = enabled
}

/**
 * Marks in the bitmap `name` of `node` all that `sources` have marked, which are bitmaps of that node by name, or of
 * others. All or nothing.
 */
export async function mergeBitmaps(
  node: Node,
  name: string,
  sources: readonly (string | { readonly node: Node; readonly name: string })[],
): Promise<void> {
  const target = changeable(node, name)
  const found = sources.map((source) => {
    const bitmap = typeof source === 'string' ? findBitmap(node, source) : findBitmap(source.node, source.name)
    refuseUnusable(bitmap)
    return bitmap
  })
  for (const { size } of found) {
    if (size === target.size) continue
    throw new BlockError(
      'EINVAL',
      `Bitmaps are of different sizes (destination size is ${target.size}, source size is ${size}) and can't be merged`,
    )
  }
  await node.image.bitmaps?.prepare()
  for (const source of found) target.merge(source)
}

/** Longest bitmap that is hashed, in bytes of one bit per granule. */
const longestHashed = 2 ** 28

/** SHA-256, in hexadecimal digits, of the bits in words of 64, as QEMU computes it. EFBIG for more than 2^31 bits. */
export async function bitmapSha256(bitmap: DirtyBitmap): Promise<string> {
  const { granularity, size } = bitmap
  const length = Math.ceil(Math.ceil(size / granularity) / 64) * 8
  if (length > longestHashed) throw new BlockError('EFBIG', `a bitmap of ${length} bytes is too long to be hashed`)
  const bits = new Uint8Array(length)
  bitmap.readBits(0, bits)
  const digest = new Uint8Array(await globalThis.crypto.subtle.digest('SHA-256', bits))
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
