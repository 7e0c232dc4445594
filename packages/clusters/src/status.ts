/** What is allocated where, in runs as long as they are. */
import { type BlockStatus, throwIfAborted } from '@diskgraph/core/driver'
import { type DataImage, Kind, newRun, type Run } from './image.ts'

/** L2 tables that one answer looks at, at most. */
const maxSteps = 1024
const unitsPerStep = 40

/** The status of the range from `offset` on, in this layer. */
export async function blockStatus(
  image: DataImage,
  offset: number,
  length: number,
  signal?: AbortSignal,
): Promise<BlockStatus> {
  image.checkUsable()
  throwIfAborted(signal)
  const yielder = image.statusYielder
  const turn = yielder.step(unitsPerStep)
  if (turn !== undefined) await turn
  const run = newRun()
  await image.map.find(offset, length, run)
  const first = { ...run }
  let covered = run.length
  for (let step = 0; step < maxSteps && covered < length; step++) {
    if (first.kind === Kind.unallocated && !first.copied)
      covered = Math.min(length, image.map.next(offset + covered) - offset)
    if (covered === length) break
    await image.map.find(offset + covered, length - covered, run)
    if (!continues(first, covered, run)) break
    covered += run.length
    const turn = yielder.step(unitsPerStep)
    if (turn !== undefined) await turn
    throwIfAborted(signal)
  }
  const preallocated = first.kind === Kind.normal && (await image.isPreallocated(signal))
  return statusOf(image, first, covered, preallocated)
}

function continues(first: Run, covered: number, run: Run): boolean {
  if (run.kind !== first.kind) return false
  if (run.copied !== first.copied && run.kind === Kind.unallocated) return false
  const placed =
    run.kind === Kind.normal || run.kind === Kind.zeroAllocated || (run.kind === Kind.unallocated && run.copied)
  if (placed) return run.host === first.host + covered
  return true
}

function statusOf(image: DataImage, run: Run, length: number, preallocated: boolean): BlockStatus {
  const { file, dataFile = file, cipher } = image
  // What is encrypted stands nowhere as it reads.
  const place = cipher === undefined ? { offset: run.host, file: dataFile } : {}
  const sparse = preallocated && cipher === undefined ? ({ recurse: 'zeroes' } as const) : {}
  switch (run.kind) {
    case Kind.unallocated:
      return {
        length,
        data: false,
        zero: image.backing() === undefined,
        allocated: false,
        ...(run.copied ? place : {}),
      }
    case Kind.zero:
      return { length, data: false, zero: true, allocated: true }
    case Kind.zeroAllocated:
      return { length, data: false, zero: true, allocated: true, ...place }
    case Kind.compressed:
      return { length, data: true, zero: false, allocated: true, compressed: true }
    default:
      return { length, data: true, zero: false, allocated: true, ...place, ...sparse }
  }
}
