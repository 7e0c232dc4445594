/** Named dirty bitmaps of nodes, with QEMU's rules and texts: what an incremental backup stands on. */
import { BlockError, type Change, type DirtyBitmap, type Graph, type Node } from '@diskgraph/core'
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

const longestName = 1023
const largestGranularity = 2 ** 31

/** Starts to record what changes on `node`, while nothing is in flight there. */
export async function addBitmap(graph: Graph, node: Node, settings: BitmapSettings): Promise<DirtyBitmap> {
  const { name, granularity, disabled = false, persistent = false, change } = settings
  if (typeof name !== 'string' || name === '') throw new BlockError('EINVAL', 'Bitmap name cannot be empty')
  if (granularity !== undefined && !isGranularity(granularity)) {
    throw new BlockError('EINVAL', 'Granularity must be power of 2 and at least 512')
  }
  if (new TextEncoder().encode(name).length > longestName) {
    throw new BlockError('EINVAL', `Bitmap name too long: ${name}`)
  }
  if (persistent) {
    throw new BlockError('ENOTSUP', `Can't store persistent bitmaps to ${node.name}: Operation not supported`)
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
    return bitmap
  })
}

function isGranularity(value: number): boolean {
  return Number.isInteger(Math.log2(value)) && value >= 512 && value <= largestGranularity
}

/** The bitmap called `name`. ENOENT, with `message`, where there is none. */
export function findBitmap(node: Node, name: string, message?: string): DirtyBitmap {
  return node.bitmap(name, message)
}

/** As {@link findBitmap}, for one that is to be changed. EBUSY while a job or an export uses it. */
function idleBitmap(node: Node, name: string): DirtyBitmap {
  const bitmap = findBitmap(node, name)
  refuseBusyBitmap(bitmap)
  return bitmap
}

/** EBUSY while a job or an export uses `bitmap`. */
export function refuseBusyBitmap({ busy, name }: DirtyBitmap): void {
  if (!busy) return
  throw new BlockError('EBUSY', `Bitmap '${name}' is currently in use by another operation and cannot be used`)
}

/** Stops to record. */
export function removeBitmap(node: Node, name: string): void {
  node.removeDirtyBitmap(idleBitmap(node, name))
}

/** Marks everything as unchanged. */
export function clearBitmap(node: Node, name: string): void {
  const bitmap = idleBitmap(node, name)
  bitmap.clear(0, bitmap.size)
}

/** Lets it record (true) or keep what it has (false). */
export function enableBitmap(node: Node, name: string, enabled: boolean): void {
  idleBitmap(node, name).enabled = enabled
}

/**
 * Marks in the bitmap `name` of `node` all that `sources` have marked, which are bitmaps of that node by name, or of
 * others. All or nothing.
 */
export function mergeBitmaps(
  node: Node,
  name: string,
  sources: readonly (string | { readonly node: Node; readonly name: string })[],
): void {
  const target = idleBitmap(node, name)
  const found = sources.map((source) =>
    typeof source === 'string' ? idleBitmap(node, source) : idleBitmap(source.node, source.name),
  )
  for (const { size } of found) {
    if (size === target.size) continue
    throw new BlockError(
      'EINVAL',
      `Bitmaps are of different sizes (destination size is ${target.size}, source size is ${size}) and can't be merged`,
    )
  }
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
  for (let run = bitmap.nextDirty(0); run !== undefined; run = bitmap.nextDirty(run.offset + run.length)) {
    fill(bits, run.offset / granularity, Math.ceil((run.offset + run.length) / granularity))
  }
  const digest = new Uint8Array(await globalThis.crypto.subtle.digest('SHA-256', bits))
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Sets the bits from `start` to `end`; whole bytes at once. */
function fill(bits: Uint8Array, start: number, end: number): void {
  let at = start
  for (; at < end && at % 8 !== 0; at++)
    bits[Math.floor(at / 8)] = (bits[Math.floor(at / 8)] as number) | (1 << (at % 8))
  const whole = Math.floor(end / 8) * 8
  if (whole > at) {
    bits.fill(0xff, at / 8, whole / 8)
    at = whole
  }
  for (; at < end; at++) bits[Math.floor(at / 8)] = (bits[Math.floor(at / 8)] as number) | (1 << (at % 8))
}
