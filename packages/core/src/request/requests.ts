/**
 * The long way of a request through a node: split to the image's limits, padded to its alignment, FUA and zeroes
 * emulated, zeroes detected, notifiers called before, dirty bitmaps marked after.
 *
 * Alignment. A request that is not aligned is widened to whole blocks. A widened write reads, changes and writes
 * back, so it holds its blocks exclusively, while aligned writes hold theirs shared: two small writes into one
 * block cannot lose each other. Head and tail in the same block are read once. Reads hold nothing: they see a
 * block before or after such a write, and its other bytes are the same in both.
 */
import { alignDown, alignUp, isAligned, isZero } from '../bytes.ts'
import { done, Flag, type OpenImage } from '../contract/contract.ts'
import { BlockError, isBlockError } from '../errors.ts'
import { type Layer, readOnlyError, type WriteKind } from './layer.ts'

/** Zeroes to write where an image cannot make them; read-only by convention. */
const zeroes = new Uint8Array(2 ** 20)

/** Reads `buf` from an image that needs alignment, has a limit on transfers, or whose reads somebody follows. */
export async function readRequest(
  node: Layer,
  offset: number,
  buf: Uint8Array,
  flags: number,
  signal?: AbortSignal,
): Promise<void> {
  if (node.readFollowers === 0) return readAligned(node, offset, buf, flags, signal)
  const hold = await node.readLock.acquire(offset, buf.length, false)
  try {
    await readAligned(node, offset, buf, flags, signal)
  } finally {
    node.readLock.release(hold)
  }
}

async function readAligned(
  node: Layer,
  offset: number,
  buf: Uint8Array,
  flags: number,
  signal?: AbortSignal,
): Promise<void> {
  const { alignment } = node.limits
  if (isAligned(offset, alignment) && isAligned(buf.length, alignment)) {
    return readPieces(node, offset, buf, flags, signal)
  }
  const start = alignDown(offset, alignment)
  const bounce = new Uint8Array(alignUp(offset + buf.length, alignment) - start)
  await readPieces(node, start, bounce, flags, signal)
  buf.set(bounce.subarray(offset - start, offset - start + buf.length))
}

function readPieces(node: Layer, offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
  const { image } = node
  const max = alignDown(node.limits.maxTransfer, node.limits.alignment)
  if (buf.length <= max) return image.read(offset, buf, flags, signal)
  return inPieces(offset, buf.length, max, (at, length) =>
    image.read(at, buf.subarray(at - offset, at - offset + length), flags, signal),
  )
}

/** Writes `buf`; every change of data that is not on the fast path ends here. */
export async function writeRequest(
  node: Layer,
  offset: number,
  buf: Uint8Array,
  flags: number,
  signal?: AbortSignal,
): Promise<void> {
  checkWritable(node, flags)
  if (node.detectZeroes !== 'off' && (flags & Flag.Compressed) === 0 && buf.length > 0 && isZero(buf)) {
    const unmap = node.detectZeroes === 'unmap' ? Flag.MayUnmap : 0
    return writeZeroesRequest(node, offset, buf.length, flags | unmap, signal)
  }
  await guarded(node, offset, buf, async () => {
    await notify(node, offset, buf.length, 'write')
    try {
      await writeAligned(node, offset, buf, flags, signal)
    } finally {
      markWritten(node, offset, buf.length)
    }
  })
}

function checkWritable(node: Layer, flags: number): void {
  if (node.readOnly) throw readOnlyError(node)
  if (node.image.write === undefined) {
    throw new BlockError('ENOTSUP', `driver '${node.driver.name}' cannot write`, { node: node.name })
  }
  if ((flags & Flag.Compressed) !== 0 && ((node.image.writeFlags ?? 0) & Flag.Compressed) === 0) {
    throw new BlockError('ENOTSUP', `driver '${node.driver.name}' cannot write compressed data`, { node: node.name })
  }
}

async function writeAligned(
  node: Layer,
  offset: number,
  buf: Uint8Array,
  flags: number,
  signal?: AbortSignal,
): Promise<void> {
  const { alignment } = node.limits
  if (alignment === 1) return writePieces(node, offset, buf, flags, signal)
  const start = alignDown(offset, alignment)
  const end = alignUp(offset + buf.length, alignment)
  const aligned = start === offset && end === offset + buf.length
  const hold = await node.rangeLock.acquire(start, end - start, !aligned)
  try {
    if (aligned) return await writePieces(node, offset, buf, flags, signal)
    await writePieces(node, start, await widen(node, start, end, offset, buf, signal), flags, signal)
  } finally {
    node.rangeLock.release(hold)
  }
}

/** `buf` with the rest of its first and last block around it. */
async function widen(
  node: Layer,
  start: number,
  end: number,
  offset: number,
  buf: Uint8Array,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const { alignment } = node.limits
  const wide = new Uint8Array(end - start)
  const head = start < offset
  const tail = offset + buf.length < end
  // One read does for both ends when they are, or are in, neighbouring blocks.
  const together = end - start <= (head && tail ? 2 : 1) * alignment
  if (head || together) {
    if (head) await hear(node, 'pwritev_rmw_head')
    if (together && tail) await hear(node, 'pwritev_rmw_tail')
    await readKnown(node, start, together ? wide : wide.subarray(0, alignment), signal)
    if (head) await hear(node, 'pwritev_rmw_after_head')
    if (together && tail) await hear(node, 'pwritev_rmw_after_tail')
  }
  if (tail && !together) {
    await hear(node, 'pwritev_rmw_tail')
    await readKnown(node, end - alignment, wide.subarray(wide.length - alignment), signal)
    await hear(node, 'pwritev_rmw_after_tail')
  }
  wide.set(buf, offset - start)
  return wide
}

/** Tells a node that listens about a step of its own request. */
function hear(node: Layer, event: string): Promise<void> | undefined {
  return node.image.debugEvent === undefined ? undefined : node.image.debugEvent(event)
}

/** Reads, leaving what is past the end of the image as it is. */
async function readKnown(node: Layer, offset: number, buf: Uint8Array, signal?: AbortSignal): Promise<void> {
  const known = Math.min(buf.length, alignUp(node.image.size, node.limits.alignment) - offset)
  if (known > 0) await node.image.read(offset, buf.subarray(0, known), 0, signal)
}

async function writePieces(
  node: Layer,
  offset: number,
  buf: Uint8Array,
  flags: number,
  signal?: AbortSignal,
): Promise<void> {
  await hear(node, 'pwritev')
  try {
    await writeUnheard(node, offset, buf, flags, signal)
  } finally {
    await hear(node, 'pwritev_done')
  }
  if (mustFlush(flags, node.image.writeFlags)) await node.flush(signal)
}

function writeUnheard(
  node: Layer,
  offset: number,
  buf: Uint8Array,
  flags: number,
  signal?: AbortSignal,
): Promise<void> {
  const { image } = node
  const pass = flags & ((image.writeFlags ?? 0) | Flag.Unchanged)
  const write = image.write as NonNullable<OpenImage['write']>
  const max = alignDown(node.limits.maxTransfer, node.limits.alignment)
  if (buf.length <= max) return write.call(image, offset, buf, pass, signal)
  return inPieces(offset, buf.length, max, (at, length) =>
    write.call(image, at, buf.subarray(at - offset, at - offset + length), pass, signal),
  )
}

/** Whether FUA is asked for and the image, which honours `supported`, does not do it itself. */
function mustFlush(flags: number, supported = 0): boolean {
  return (flags & Flag.Fua) !== 0 && (supported & Flag.Fua) === 0
}

/** Makes a range read as zeroes, by the image's own means where it has them. */
export async function writeZeroesRequest(
  node: Layer,
  offset: number,
  length: number,
  flags: number,
  signal?: AbortSignal,
): Promise<void> {
  checkWritable(node, 0)
  const pass = node.discardMode === 'unmap' ? flags : flags & ~Flag.MayUnmap
  await guarded(node, offset, zeroes.subarray(0, Math.min(512, length)), async () => {
    await notify(node, offset, length, 'zeroes')
    try {
      await zeroPieces(node, offset, length, pass, signal)
    } finally {
      markWritten(node, offset, length)
    }
  })
}

async function zeroPieces(
  node: Layer,
  offset: number,
  length: number,
  flags: number,
  signal?: AbortSignal,
): Promise<void> {
  const { image, limits } = node
  const alignment = Math.max(limits.writeZeroesAlignment, limits.alignment)
  const start = Math.min(alignUp(offset, alignment), offset + length)
  const end = Math.max(alignDown(offset + length, alignment), start)
  if (image.writeZeroes === undefined || start === end) {
    if ((flags & Flag.NoFallback) !== 0) throw noEfficientZeroes(node)
    return writeZeroBytes(node, offset, length, flags, signal)
  }
  const supported = image.zeroFlags ?? 0
  if (start > offset) await writeZeroBytes(node, offset, start - offset, flags, signal)
  await hear(node, 'pwritev_zero')
  try {
    const max = alignDown(limits.maxWriteZeroes, alignment)
    const makeZeroes = image.writeZeroes
    await inHeldPieces(node, start, end, max, (at, piece) =>
      makeZeroes.call(image, at, piece, flags & supported, signal),
    )
    if (mustFlush(flags, supported)) await node.flush(signal)
  } catch (error) {
    if (!isBlockError(error) || error.code !== 'ENOTSUP' || (flags & Flag.NoFallback) !== 0) throw error
    await writeAlignedZeroes(node, start, end - start, flags, signal)
  } finally {
    await hear(node, 'pwritev_done')
  }
  if (end < offset + length) await writeZeroBytes(node, end, offset + length - end, flags, signal)
}

function noEfficientZeroes(node: Layer): BlockError {
  return new BlockError('ENOTSUP', `driver '${node.driver.name}' cannot write zeroes efficiently`, { node: node.name })
}

async function writeZeroBytes(
  node: Layer,
  offset: number,
  length: number,
  flags: number,
  signal?: AbortSignal,
): Promise<void> {
  const pass = flags & (Flag.Fua | Flag.Unchanged)
  for (let at = 0; at < length; at += zeroes.length) {
    const piece = zeroes.subarray(0, Math.min(zeroes.length, length - at))
    await writeAligned(node, offset + at, piece, pass, signal)
  }
}

/** Writes zeroes as the second attempt of a request that is heard already; offset and length are aligned. */
async function writeAlignedZeroes(
  node: Layer,
  offset: number,
  length: number,
  flags: number,
  signal?: AbortSignal,
): Promise<void> {
  const hold = await node.rangeLock.acquire(offset, length, false)
  try {
    for (let at = 0; at < length; at += zeroes.length) {
      const piece = zeroes.subarray(0, Math.min(zeroes.length, length - at))
      await writeUnheard(node, offset + at, piece, flags & Flag.Unchanged, signal)
    }
  } finally {
    node.rangeLock.release(hold)
  }
  if ((flags & Flag.Fua) !== 0) await node.flush(signal)
}

/** Passes on a hint that a range is no longer needed. Its edges that do not fill whole units are kept. */
export async function discardRequest(node: Layer, offset: number, length: number, signal?: AbortSignal): Promise<void> {
  if (node.readOnly) throw readOnlyError(node)
  const { image, limits } = node
  if (node.discardMode !== 'unmap' || image.discard === undefined) return done
  const alignment = Math.max(limits.discardAlignment, limits.alignment)
  const start = alignUp(offset, alignment)
  const last = offset + length
  const end = last >= image.size && isAligned(last, limits.alignment) ? last : alignDown(last, alignment)
  if (start >= end) return
  await notify(node, start, end - start, 'discard')
  const max = alignDown(limits.maxDiscard, alignment)
  try {
    const discard = image.discard
    await inHeldPieces(node, start, end, max, (at, piece) => discard.call(image, at, piece, signal))
  } catch (error) {
    if (!isBlockError(error) || error.code !== 'ENOTSUP') throw error
  } finally {
    markWritten(node, start, end - start)
  }
}

async function notify(node: Layer, offset: number, length: number, kind: WriteKind): Promise<void> {
  for (const notifier of node.writeNotifiers) await notifier(offset, length, kind)
}

function markWritten(node: Layer, offset: number, length: number): void {
  if (offset + length > node.writtenUpTo) node.writtenUpTo = offset + length
  node.tellSize()
  for (const bitmap of node.dirtyBitmaps) bitmap.record(offset, length)
}

/**
 * Runs `work`, which changes a range that begins with `buf`. On a disk whose format was guessed to be raw, what touches
 * the first sector goes one after the other, and not if the sector would look like another format then.
 */
async function guarded(node: Layer, offset: number, buf: Uint8Array, work: () => Promise<void>): Promise<void> {
  const { probeGuard } = node
  if (probeGuard === undefined || offset >= 512) return work()
  const hold = await node.guardLock.acquire(0, 512, true)
  try {
    const sector = new Uint8Array(512)
    await readRequest(node, 0, sector.subarray(0, Math.min(512, node.image.size)), 0)
    sector.set(buf.subarray(0, 512 - offset), offset)
    if (probeGuard(sector)) throw guardRefusal(node)
    await work()
  } finally {
    node.guardLock.release(hold)
  }
}

function guardRefusal(node: Layer): BlockError {
  return new BlockError('EPERM', 'a write to sector 0 would make this raw image look like another format', {
    node: node.name,
    hint: "give the format explicitly (driver: 'raw') to allow it",
  })
}

/** Runs `request` over consecutive pieces between multiples of `max`, one after the other, each held shared meanwhile. */
async function inHeldPieces(
  node: Layer,
  start: number,
  end: number,
  max: number,
  request: (offset: number, length: number) => Promise<void>,
): Promise<void> {
  for (let at = start, next = end; at < end; at = next) {
    // Not from where the request happens to start: what lies below would lose its clusters that are cut.
    next = max === Number.POSITIVE_INFINITY ? end : Math.min(end, alignDown(at, max) + max)
    const piece = next - at
    const hold = await node.rangeLock.acquire(at, piece, false)
    try {
      await request(at, piece)
    } finally {
      node.rangeLock.release(hold)
    }
  }
}

/** Runs `request` over consecutive pieces of at most `max` bytes, a few at a time; waits for all, then throws. */
async function inPieces(
  offset: number,
  length: number,
  max: number,
  request: (offset: number, length: number) => Promise<void>,
): Promise<void> {
  for (let at = offset; at < offset + length; ) {
    const batch: Promise<void>[] = []
    for (; batch.length < 8 && at < offset + length; at += max) {
      batch.push(settled(request, at, Math.min(max, offset + length - at)))
    }
    for (const result of await Promise.allSettled(batch)) if (result.status === 'rejected') throw result.reason
  }
}

/** The request's promise; what it throws at once is a rejection, too, so that the others of its batch are waited for. */
async function settled(
  request: (offset: number, length: number) => Promise<void>,
  offset: number,
  length: number,
): Promise<void> {
  return request(offset, length)
}
