/** Bytes that come as a stream, of a length that nobody knows before its end, into a disk. */
import { BlockError, type Disk, Flag, isBlockError } from '@diskgraph/core'
import { alignUp, isBytes, unlessAborted } from '@diskgraph/core/driver'
import { checkSettings, due, kindOf } from '@diskgraph/core/internal'
import { checkDisk } from '../engine/arguments.ts'
import { chunkLength } from '../engine/copier.ts'
import { allSettled, JobError, runJob } from '../engine/work.ts'
import { zeroRuns, zeroUnitOf } from '../engine/zero-runs.ts'
import type { CopyOptions } from './copy.ts'

/** How {@link copyStream} copies. */
export type StreamOptions = Pick<CopyOptions, 'sparseSize' | 'compressed' | 'signal'>

/**
 * Writes all of `stream` to the start of `target`, which must read as zeroes, and flushes it. The disk grows while
 * data comes, and in the end is as long as the stream, rounded up to sectors of 512.
 */
export function copyStream(
  stream: AsyncIterable<Uint8Array>,
  target: Disk,
  options: StreamOptions = {},
): Promise<void> {
  return runJob(options, async () => {
    checkSettings('copyStream', { sparseSize: due.bytes, compressed: due.flag, signal: due.signal }, options)
    checkDisk('the target of copyStream', target)
    if (typeof stream?.[Symbol.asyncIterator] !== 'function') {
      throw new BlockError('EINVAL', `the stream of copyStream is an AsyncIterable of bytes, not ${kindOf(stream)}`)
    }
    const { sparseSize = 4096, compressed = false, signal } = options
    const { clusterSize = 1 } = await target.info()
    const unit = zeroUnitOf(sparseSize, clusterSize, compressed)
    const flags = compressed ? Flag.Compressed : 0
    const chunks = chunksOf(stream, signal)
    let offset = 0
    for (let next = await chunks.next(); !next.done; ) {
      const { value: chunk } = next
      const end = offset + chunk.length
      // The last chunk finds the disk at its final size: only there may a compressed cluster be shorter than others.
      if (chunk.length < chunkLength) await resize(target, end)
      else if (end > target.size) await resize(target, Math.max(end, target.size * 2, 2 ** 26))
      // One chunk is written while the next one comes.
      const following = chunks.next()
      await allSettled([write(target, offset, chunk, unit, flags, signal), following])
      next = await following
      offset = end
    }
    if (target.size > offset) await resize(target, offset)
    await target.flush(signal)
  })
}

/**
 * The bytes of `stream` in chunks of full length, but for the last, which is filled up with zeroes to whole sectors. A
 * chunk is valid until the one after next.
 */
async function* chunksOf(
  stream: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  let [current, other] = [new Uint8Array(chunkLength), new Uint8Array(chunkLength)]
  let filled = 0
  for await (const piece of piecesOf(stream, signal)) {
    for (let at = 0; at < piece.length; ) {
      const taken = Math.min(piece.length - at, chunkLength - filled)
      current.set(piece.subarray(at, at + taken), filled)
      at += taken
      filled += taken
      if (filled < chunkLength) continue
      yield current
      ;[current, other] = [other, current]
      filled = 0
    }
  }
  if (filled > 0) yield current.fill(0, filled).subarray(0, alignUp(filled, 512))
}

/** The pieces of `stream`. When the signal is aborted the stream is left, even one that never yields again. */
async function* piecesOf(
  stream: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const iterator = stream[Symbol.asyncIterator]()
  let ended = false
  try {
    for (;;) {
      const next = Promise.resolve(iterator.next())
      next.catch(() => {
        ended = true
      })
      const { done, value } = await unlessAborted(next, signal)
      if (done === true) {
        ended = true
        return
      }
      if (!isBytes(value)) throw new BlockError('EINVAL', `a stream of bytes yields Uint8Array, not ${kindOf(value)}`)
      yield value
    }
  } finally {
    // Not waited for: a generator that waits for what never comes does not hear of it.
    if (!ended) Promise.resolve(iterator.return?.()).catch(() => undefined)
  }
}

async function resize(target: Disk, size: number): Promise<void> {
  try {
    await target.truncate(size)
  } catch (error) {
    if (!isBlockError(error) || error.code !== 'ENOTSUP') {
      throw new JobError({ operation: 'write', disk: 'target', offset: size }, error)
    }
    throw new BlockError(
      'ENOTSUP',
      'the target cannot be resized, and the size of a stream is not known before its end',
      { cause: error, hint: 'save the stream to a file first' },
    )
  }
}

async function write(
  target: Disk,
  offset: number,
  chunk: Uint8Array,
  unit: number,
  flags: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    for (const { start, length, zero } of zeroRuns(chunk, offset, unit)) {
      if (!zero) await target.write(offset + start, chunk.subarray(start, start + length), flags, signal)
    }
  } catch (error) {
    throw new JobError({ operation: 'write', disk: 'target', offset }, error)
  }
}
