/**
 * Zeroes in what was read are told as holes rather than sent: whoever stores or looks at the data need not look for them.
 * Whether they are holes in an image does not matter, so the image is not asked; and no byte is moved, as the headers of
 * the chunks find room in the zeroes that they stand for:
 *
 *     read    │ header │ data ......... │ zeroes ...................... │ data .........
 *     sent    ├ header ┼ data ......... ┼ hole ┤            ├ header ┼ data .........
 */
import { isZero } from '@diskgraph/core/driver'
import { dataHeaderLength, holeChunkLength, putDataHeader, putHoleChunk } from '../wire/replies.ts'
import type { ReplyPlace, ReplyQueue } from './reply-queue.ts'
import type { Request } from './request.ts'

/** Zeroes count in blocks of this many bytes, from the start of the request. */
const block = 4096
/** Room that a hole's chunk and the next header take. */
const leastHole = holeChunkLength + dataHeaderLength

interface Run {
  readonly from: number
  readonly to: number
  readonly hole: boolean
}

/** Whether the `length` bytes at `start` may be told as holes in part; a quick look. */
export function mayHaveHoles(bytes: Uint8Array, start: number, length: number): boolean {
  for (let at = start; at < start + length; at += block) {
    if (bytes[at] === 0 && bytes[Math.min(at + 7, start + length - 1)] === 0) return true
  }
  return false
}

/**
 * Puts the reply of a read without fragments left out, if all of it is one hole: its length; 0 when it is not.
 */
export function putWholeHole({ slab, start }: ReplyPlace, request: Request): number {
  const { length } = request
  if (dataHeaderLength + length < holeChunkLength) return 0
  const data = start + dataHeaderLength
  if (!isZero(slab.bytes.subarray(data, data + length))) return 0
  putHoleChunk(slab.bytes, start, request, request.offset, length, true)
  return holeChunkLength
}

/** Sends what was read into a lifted place as data and holes. False: there are no holes, and nothing was done. */
export function sendHoles(queue: ReplyQueue, place: ReplyPlace, request: Request): boolean {
  const { bytes } = place.slab
  const data = place.start + dataHeaderLength
  const runs = findRuns(bytes, data, request.length)
  const last = runs[runs.length - 1] as Run
  if (runs.length === 1 && !last.hole) return false
  let start = place.start
  for (const run of runs) {
    const { from, to, hole } = run
    const ends = run === last
    if (!hole) {
      start = data + from - dataHeaderLength
      putDataHeader(bytes, start, request, request.offset + from, to - from, ends)
      if (ends) queue.push(place, start, data + to, request.cost)
      continue
    }
    const at = from === 0 ? place.start : data + from
    putHoleChunk(bytes, at, request, request.offset + from, to - from, ends)
    queue.push(place, start, at + holeChunkLength, ends ? request.cost : 0, !ends)
  }
  return true
}

/** Data and holes by turns. */
function findRuns(bytes: Uint8Array, start: number, length: number): Run[] {
  const runs: Run[] = []
  for (let from = 0; from < length; from += block) {
    const to = Math.min(from + block, length)
    const room = from === 0 ? to + dataHeaderLength >= holeChunkLength : to - from >= leastHole
    const hole = room && isZero(bytes.subarray(start + from, start + to))
    const last = runs[runs.length - 1]
    if (last?.hole === hole) runs[runs.length - 1] = { from: last.from, to, hole }
    else runs.push({ from, to, hole })
  }
  return runs
}
