/**
 * Writing zeroes. Whole clusters become zero in the mapping, where the format knows zero clusters, and keep their host
 * cluster unless they may be unmapped; so do clusters of which a part is zeroed while the rest reads as zeroes. Where
 * it does not, and there is no backing file, they are deallocated. What is left takes the cheapest way that there is: nothing where zeroes stand already, the
 * storage's own zeroes where a cluster may be written in place, data otherwise.
 */
import { alignDown, alignUp, BlockError, Flag, throwIfAborted } from '@diskgraph/core/driver'
import { type DataImage, Kind, newRun } from './image.ts'
import { writeRange } from './write.ts'

/** Zeroes to write where there is no better way; never changed. */
let zeroes: Uint8Array | undefined
const zeroesSize = 1024 * 1024

/** Makes a guest range read as zeroes. ENOTSUP when `NoFallback` is set and data would have to be written. */
export async function zeroRange(
  image: DataImage,
  offset: number,
  length: number,
  flags: number,
  signal?: AbortSignal,
): Promise<void> {
  image.checkUsable()
  const { clusterSize, zeroUnit = clusterSize } = image.geometry
  const end = offset + length
  const bodyStart = alignUp(offset, zeroUnit)
  const bodyEnd = end === image.size ? alignUp(end, zeroUnit) : alignDown(end, zeroUnit)
  if (bodyEnd < bodyStart) return zeroEdge(image, offset, length, flags, signal)
  if (offset < bodyStart) await zeroEdge(image, offset, bodyStart - offset, flags, signal)
  if (bodyStart < bodyEnd) await zeroClusters(image, bodyStart, bodyEnd, flags, signal)
  if (bodyEnd < end) await zeroEdge(image, bodyEnd, end - bodyEnd, flags, signal)
}

/** Zeroes whole clusters. */
async function zeroClusters(
  image: DataImage,
  start: number,
  end: number,
  flags: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (image.changes.canZero) {
    const settings = { mayUnmap: (flags & Flag.MayUnmap) !== 0, onlyEmpty: false }
    if (await image.changes.zero(start, end, settings, signal)) return
    await zeroPart(image, start, Math.min(end, image.size) - start, flags, signal)
  } else if (image.changes.canFree && image.backing() === undefined) {
    await image.changes.discard(start, end - start, signal)
  } else {
    await zeroPart(image, start, Math.min(end, image.size) - start, flags, signal)
  }
}

/** Zeroes a part of one cluster: all of it, where the rest reads as zeroes already. */
async function zeroEdge(
  image: DataImage,
  offset: number,
  length: number,
  flags: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { clusterSize, zeroUnit = clusterSize } = image.geometry
  const start = alignDown(offset, zeroUnit)
  const end = start + zeroUnit
  if (image.changes.canZero) {
    const before = await readsAsZeroes(image, start, offset - start)
    if (before && (await readsAsZeroes(image, offset + length, Math.min(end, image.size) - offset - length))) {
      const settings = { mayUnmap: (flags & Flag.MayUnmap) !== 0, onlyEmpty: true }
      if (await image.changes.zero(start, end, settings, signal)) return
    }
  }
  return zeroPart(image, offset, length, flags, signal)
}

/** Whether a range inside one cluster is known to be zero without a cluster of its own. */
async function readsAsZeroes(image: DataImage, offset: number, length: number): Promise<boolean> {
  if (length <= 0) return true
  const run = newRun()
  await image.map.find(offset, length, run)
  if (run.kind === Kind.zero || run.kind === Kind.zeroAllocated) return true
  if (run.kind !== Kind.unallocated) return false
  const backing = image.backing()
  const end = Math.min(offset + length, backing?.size ?? 0)
  for (let at = offset; at < end; ) {
    const status = await backing!.chainStatus(at, end - at)
    if (!status.zero) return false
    at += status.length
  }
  return true
}

/** Zeroes a range without the zero flag; zeroes that are stored already stay as they are. */
export async function zeroPart(
  image: DataImage,
  offset: number,
  length: number,
  flags: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const run = newRun()
  const end = offset + length
  for (let at = offset; at < end; ) {
    throwIfAborted(signal)
    const limit = image.inFlight.clearUntil(at, end)
    if (limit === at) {
      await image.inFlight.wait(at)
      continue
    }
    await image.map.find(at, limit - at, run)
    const { kind, length: step } = run
    if (kind === Kind.normal && run.copied && image.cipher === undefined) {
      await zeroInPlace(image, at, run.host, step, flags, signal)
    } else if (!isZeroAlready(image, kind)) {
      if ((flags & Flag.NoFallback) !== 0) throw noEfficientZeroes()
      await writeZeroBytes(image, at, step, signal)
    }
    at += step
  }
}

/** Whether zeroes are there to stay: where only a backing file has ended, it may grow. */
function isZeroAlready(image: DataImage, kind: number): boolean {
  if (kind === Kind.unallocated) return image.backing() === undefined && !image.namesBacking
  return kind === Kind.zero || kind === Kind.zeroAllocated
}

function zeroInPlace(
  image: DataImage,
  offset: number,
  host: number,
  length: number,
  flags: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { file, dataFile = file } = image
  const refusal = image.guardInPlace(offset, host, length)
  const pass = flags & (Flag.NoFallback | Flag.MayUnmap)
  if (refusal === undefined) return image.frees.track(dataFile.writeZeroes(host, length, pass, signal))
  return image.frees.track(refusal.then(() => dataFile.writeZeroes(host, length, pass, signal)))
}

async function writeZeroBytes(image: DataImage, offset: number, length: number, signal?: AbortSignal): Promise<void> {
  zeroes ??= new Uint8Array(zeroesSize)
  for (let done = 0; done < length; done += zeroesSize) {
    await writeRange(image, offset + done, zeroes.subarray(0, Math.min(zeroesSize, length - done)), signal)
  }
}

function noEfficientZeroes(): BlockError {
  return new BlockError('ENOTSUP', 'these zeroes would have to be written as data')
}
