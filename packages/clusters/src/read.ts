/**
 * Reading. A request that one contiguous run answers is passed on without a promise of its own; any other is cut
 * into runs that are read at the same time.
 */
import { done, throwIfAborted } from '@diskgraph/core/driver'
import { TaskPool } from './concurrency.ts'
import { type DataImage, Kind, newRun, type Run } from './image.ts'

/** So many reads of one request are on their way at a time. */
const readsAtOnce = 32

/** Reads guest data at `offset`, which may lie behind the disk (VM state). */
export function readRange(image: DataImage, offset: number, buf: Uint8Array, signal?: AbortSignal): Promise<void> {
  if (image.corruption.broken) return Promise.reject(image.corruption.unusable())
  const run = image.run
  image.map.peek(offset, buf.length, run)
  if (run.length === buf.length && run.kind !== Kind.compressed) return readRun(image, run, offset, buf, signal)
  return readPieces(image, offset, buf, signal)
}

/** Reads a run that is not compressed. */
function readRun(
  image: DataImage,
  run: Run,
  offset: number,
  buf: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (run.kind === Kind.normal) return readData(image, offset, run.host, buf, signal)
  if (run.kind === Kind.unallocated) return readBacking(image, offset, buf, signal)
  buf.fill(0)
  return done
}

function readData(
  image: DataImage,
  offset: number,
  host: number,
  buf: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { file, dataFile = file, cipher } = image
  const held = file.debugEvent('read_aio')
  let read =
    held === undefined ? dataFile.read(host, buf, 0, signal) : held.then(() => dataFile.read(host, buf, 0, signal))
  if (cipher !== undefined) read = read.then(() => cipher.decrypt(offset, host, buf))
  return image.readOnly ? read : image.frees.track(read)
}

/** Reads what the backing file has at `offset`; zeroes where there is none. */
export function readBacking(
  image: DataImage,
  offset: number,
  buf: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const backing = offset < image.size ? image.backing() : undefined
  if (backing === undefined) {
    buf.fill(0)
    return done
  }
  const held = image.file.debugEvent('read_backing_aio')
  if (held !== undefined) return held.then(() => backing.read(offset, buf, 0, signal))
  return backing.read(offset, buf, 0, signal)
}

async function readPieces(
  image: DataImage,
  offset: number,
  buf: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const pool = new TaskPool()
  const run = newRun()
  try {
    for (let position = 0; position < buf.length && !pool.failed; ) {
      throwIfAborted(signal)
      const at = offset + position
      image.map.peek(at, buf.length - position, run)
      if (run.kind < 0) {
        await image.map.find(at, buf.length - position, run)
        continue
      }
      if (run.kind === Kind.compressed) {
        position += image.compressed.read(at, buf.subarray(position), pool, signal)
      } else {
        pool.add(readRun(image, run, at, buf.subarray(position, position + run.length), signal))
        position += run.length
      }
      if (pool.pending >= readsAtOnce) await pool.below(readsAtOnce)
    }
  } catch (error) {
    pool.fail(error)
  }
  return pool.finish()
}
