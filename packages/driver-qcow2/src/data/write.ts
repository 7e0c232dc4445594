/**
 * Writing guest data.
 *
 * A run of clusters that belong to the active disk alone is written in place, without the mutex and without a
 * change of metadata. Everything else is an allocation, in three steps:
 *
 *   1. begin (mutex): clusters are taken, and the guest range is entered in `inFlight`, so that overlapping writes wait;
 *   2. data (no mutex): the data with the copied edges of its first and last cluster goes to the new clusters;
 *   3. link (mutex): the mapping points to them, and the clusters that it pointed to before are freed.
 *
 * A failure in 2 or 3 gives the clusters back; the disk is as it was. A crash at any point leaves the old mapping
 * or the new one, and leaked clusters at worst: the order on disk is the format's.
 */
import { throwIfAborted } from '@diskgraph/core/driver'
import { TaskPool } from '../concurrency.ts'
import { writeNewClusters } from './cow.ts'
import { type DataImage, Kind, type NewClusters, newRun } from './image.ts'

/** So many writes of one request are on their way at a time. */
const writesAtOnce = 32

/** Writes guest data at `offset`, which may lie behind the disk (VM state). */
export function writeRange(image: DataImage, offset: number, buf: Uint8Array, signal?: AbortSignal): Promise<void> {
  if (image.corruption.broken) return Promise.reject(image.corruption.unusable())
  const { run } = image
  if (image.inFlight.isClear(offset, offset + buf.length)) {
    image.map.peek(offset, buf.length, run)
    if (run.length === buf.length && run.kind === Kind.normal && run.copied) {
      return writeInPlace(image, offset, run.host, buf, signal)
    }
  }
  return writePieces(image, offset, buf, signal)
}

function writeInPlace(
  image: DataImage,
  offset: number,
  host: number,
  buf: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const refusal = image.guardInPlace(offset, host, buf.length)
  if (refusal === undefined) return image.frees.track(writeData(image, host, buf, signal))
  return image.frees.track(refusal.then(() => writeData(image, host, buf, signal)))
}

function writeData(image: DataImage, host: number, buf: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
  const { file } = image
  const held = file.debugEvent('write_aio')
  if (held === undefined) return file.write(host, buf, 0, signal)
  return held.then(() => file.write(host, buf, 0, signal))
}

async function writePieces(
  image: DataImage,
  offset: number,
  buf: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const pool = new TaskPool()
  const run = newRun()
  const end = offset + buf.length
  try {
    for (let at = offset; at < end && !pool.failed; ) {
      throwIfAborted(signal)
      const limit = image.inFlight.clearUntil(at, end)
      if (limit === at) {
        await image.inFlight.wait(at)
        continue
      }
      image.map.peek(at, limit - at, run)
      if (run.kind < 0) {
        await image.map.find(at, limit - at, run)
        continue
      }
      if (run.kind === Kind.normal && run.copied) {
        pool.add(writeInPlace(image, at, run.host, buf.subarray(at - offset, at - offset + run.length), signal))
        at += run.length
      } else {
        const taken = await image.allocations.begin(at, limit - at)
        if (taken === undefined) continue
        pool.add(writeAllocation(image, taken, buf.subarray(at - offset, at - offset + taken.length), signal))
        at += taken.length
      }
      if (pool.pending >= writesAtOnce) await pool.below(writesAtOnce)
    }
  } catch (error) {
    pool.fail(error)
  }
  return pool.finish()
}

/** Steps 2 and 3, and the way back. */
async function writeAllocation(
  image: DataImage,
  taken: NewClusters,
  data: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    await writeNewClusters(image, taken, data, signal)
    await image.allocations.link(taken)
  } catch (error) {
    await image.allocations.giveBack(taken)
    throw error
  } finally {
    image.inFlight.end(taken.allocation)
  }
}
