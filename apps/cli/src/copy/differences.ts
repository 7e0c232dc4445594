/** Writing into an overlay what would be lost when its backing file changes. */
import { type Disk, type Edge, Flag, type Node } from '@diskgraph/core'
import { chainStatus } from '@diskgraph/core/internal'
import { Breath } from '../breath.ts'
import { chunkLength, TargetError } from './copier.ts'
import { SourceError } from './source.ts'

/** Two backing files of one overlay. */
export interface Differences {
  /** The overlay as it is used: reads see the old backing file. */
  readonly disk: Disk
  /** Its layer. */
  readonly overlay: Node
  readonly oldBacking: Edge | undefined
  readonly newBacking: Edge | undefined
  /** The new backing file as a layer of the old chain, when it is one: what only it and layers below hold is equal. */
  readonly shared: Node | undefined
  /** Differences are written in units of so many bytes. */
  readonly unit: number
  readonly onProgress: (done: number, total: number) => void
  readonly signal: AbortSignal
}

/** Both sides of a range that has to be compared. */
interface Buffers {
  readonly old: Buffer
  readonly new: Buffer
}

/** Compares where the overlay has nothing of its own, and writes the old content where the new one differs. */
export async function copyDifferences(differences: Differences): Promise<void> {
  const { overlay, onProgress, disk } = differences
  const buffers = { old: Buffer.alloc(chunkLength), new: Buffer.alloc(chunkLength) }
  const breath = new Breath(differences.signal)
  for (let at = 0; at < disk.size; ) {
    await breath.take()
    if (at > 0) onProgress(at, overlay.size)
    at += await stepAt(differences, at, buffers)
  }
}

/** Deals with what begins at `offset`; the result is how far it reaches. */
async function stepAt(differences: Differences, offset: number, buffers: Buffers): Promise<number> {
  const { overlay, oldBacking, shared, disk, signal } = differences
  const status = await statusOf(offset, () => overlay.blockStatus(offset, disk.size - offset, signal))
  if (status.allocated) return status.length
  const length = Math.min(status.length, chunkLength)
  if (shared !== undefined && oldBacking !== undefined) {
    if (oldBacking.node === shared) return status.length
    if (offset < oldBacking.size) {
      const rest = Math.min(length, oldBacking.size - offset)
      const above = await statusOf(offset, () => chainStatus(oldBacking.node, shared, offset, rest, signal))
      if (!above.present) return above.length
      await compareRange(differences, offset, above.length, buffers)
      return above.length
    }
  }
  await compareRange(differences, offset, length, buffers)
  return length
}

async function statusOf<T>(offset: number, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (error) {
    throw new SourceError('status', offset, error)
  }
}

async function compareRange(differences: Differences, offset: number, length: number, buffers: Buffers): Promise<void> {
  const { oldBacking, newBacking, unit } = differences
  const before = await contentOf(oldBacking, offset, buffers.old.subarray(0, length))
  const after = await contentOf(newBacking, offset, buffers.new.subarray(0, length))
  let start = -1
  for (let at = 0; at < length; ) {
    const next = Math.min(length, (Math.floor((offset + at) / unit) + 1) * unit - offset)
    const equal = before.compare(after, at, next, at, next) === 0
    if (!equal && start < 0) start = at
    if (equal && start >= 0) {
      await write(differences, offset + start, before.subarray(start, at))
      start = -1
    }
    at = next
  }
  if (start >= 0) await write(differences, offset + start, before.subarray(start, length))
}

/** What a backing file shows: zeroes behind its end, or where there is none. */
async function contentOf(backing: Edge | undefined, offset: number, buf: Buffer): Promise<Buffer> {
  if (backing === undefined) return buf.fill(0)
  try {
    await backing.read(offset, buf)
    return buf
  } catch (error) {
    throw new SourceError('read', offset, error)
  }
}

async function write(differences: Differences, offset: number, buf: Buffer): Promise<void> {
  const { disk, signal } = differences
  const zero = buf[0] === 0 && buf.compare(buf, 1, buf.length, 0, buf.length - 1) === 0
  try {
    if (zero) await storeZeroes(differences, offset, buf)
    else await disk.write(offset, buf, 0, signal)
  } catch (error) {
    throw new TargetError(offset, error)
  }
}

/** Writes zeroes that stay: without a backing file an image may take them for granted, until it has one. */
async function storeZeroes({ disk, overlay, signal }: Differences, offset: number, buf: Buffer): Promise<void> {
  await disk.writeZeroes(offset, buf.length, Flag.MayUnmap, signal)
  for (let at = 0; at < buf.length; ) {
    const { allocated, length } = await overlay.blockStatus(offset + at, buf.length - at, signal)
    const end = Math.min(buf.length, at + length)
    if (!allocated) await disk.write(offset + at, buf.subarray(at, end), 0, signal)
    at = end
  }
}
