/**
 * Reading compressed clusters. Neighbours whose data stands behind each other in the file, as writers pack it, are
 * read with one request and inflated at the same time.
 *
 *     ├ sector ┼ sector ┼ sector ┼ sector ┤
 *          [ cluster 7  ][ cluster 8 ][ 9 …        each descriptor: start byte, number of sectors it reaches into
 */
import { BlockError } from '@diskgraph/core/driver'
import { TaskPool } from '../concurrency.ts'
import { compressedDescriptor, entrySize } from '../header/layout.ts'
import { entryPlace, Kind, kindOf } from '../mapping/map.ts'
import type { Qcow2State } from '../state.ts'

/** Most bytes of compressed data that are read at once, and most clusters. */
const maxRead = 2 * 1024 * 1024
const maxClusters = 64
/** Of the clusters of a request one in so many is inflated here, while the thread pool has the others. */
const shareOfPool = 3
/** Larger clusters would hold up everything else for too long. */
const largestHere = 65536

interface Piece {
  /** Place of the data in the file. */
  readonly offset: number
  readonly length: number
  /** Where the wanted bytes start in the cluster, and where they go. */
  readonly skip: number
  readonly target: Uint8Array
}

/**
 * Starts reading the compressed clusters from guest offset `offset` on into the start of `buf`, as requests of
 * `pool`; returns how many bytes they cover. The slice of the L2 table is in memory.
 */
export function readCompressed(
  state: Qcow2State,
  offset: number,
  buf: Uint8Array,
  pool: TaskPool,
  signal: AbortSignal | undefined,
): number {
  const { clusterSize } = state.geometry
  const place = entryPlace(state, offset)
  const { view } = state.store.l2.peek(place.slice)!
  const pieces: Piece[] = []
  let skip = offset - Math.floor(offset / clusterSize) * clusterSize
  let covered = 0
  for (let i = 0; i < Math.min(place.rest, maxClusters) && covered < buf.length; i++) {
    const hi = view.getUint32(place.at + i * entrySize)
    const lo = view.getUint32(place.at + i * entrySize + 4)
    if (kindOf(hi, lo) !== Kind.compressed) break
    const data = compressedDescriptor(state.geometry, hi, lo)
    if (pieces.length > 0 && !follows(pieces, data.offset, data.length)) break
    const length = Math.min(clusterSize - skip, buf.length - covered)
    pieces.push({ ...data, skip, target: buf.subarray(covered, covered + length) })
    covered += length
    skip = 0
  }
  pool.add(readTogether(state, pieces, signal))
  return covered
}

function follows(pieces: readonly Piece[], offset: number, length: number): boolean {
  const first = pieces[0]!
  const last = pieces.at(-1)!
  return offset > last.offset && offset <= last.offset + last.length && offset + length - first.offset <= maxRead
}

async function readTogether(state: Qcow2State, pieces: readonly Piece[], signal?: AbortSignal): Promise<void> {
  if (pieces.length === 1) return copyOut(await cachedCluster(state, pieces[0]!, signal), pieces[0]!)
  const first = pieces[0]!
  const last = pieces.at(-1)!
  const data = await readData(state, first.offset, last.offset + last.length - first.offset, signal)
  const partOf = (piece: Piece): Uint8Array => {
    const from = piece.offset - first.offset
    return data.subarray(from, from + piece.length)
  }
  const pool = new TaskPool()
  pieces.forEach((piece, i) => {
    if (i % shareOfPool !== 0) pool.add(inflate(state, partOf(piece)).then((cluster) => copyOut(cluster, piece)))
  })
  for (let i = 0; i < pieces.length && !pool.failed; i += shareOfPool) {
    const piece = pieces[i]!
    try {
      copyOut(inflateHere(state, partOf(piece)) ?? (await inflate(state, partOf(piece))), piece)
    } catch (error) {
      pool.fail(error)
    }
  }
  return pool.finish()
}

function cachedCluster(state: Qcow2State, piece: Piece, signal?: AbortSignal): Promise<Uint8Array> {
  return state.compressed.get(piece.offset, async () => {
    const data = await readData(state, piece.offset, piece.length, signal)
    return inflateHere(state, data) ?? inflate(state, data)
  })
}

function copyOut(cluster: Uint8Array, piece: Piece): void {
  piece.target.set(cluster.subarray(piece.skip, piece.skip + piece.target.length))
}

async function readData(
  state: Qcow2State,
  offset: number,
  length: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  if (!Number.isSafeInteger(offset + length)) {
    throw new BlockError('EIO', 'a compressed cluster points beyond the largest possible offset')
  }
  const data = new Uint8Array(length)
  const held = state.file.debugEvent('read_compressed')
  if (held === undefined) await state.frees.track(state.file.read(offset, data, 0, signal))
  else await state.frees.track(held.then(() => state.file.read(offset, data, 0, signal)))
  return data
}

async function inflate(state: Qcow2State, data: Uint8Array): Promise<Uint8Array> {
  try {
    return await state.zlib.inflate(data, state.geometry.clusterSize)
  } catch (error) {
    throw damaged(error)
  }
}

/** Inflates a small cluster at once; undefined when it is to be done elsewhere. */
function inflateHere(state: Qcow2State, data: Uint8Array): Uint8Array | undefined {
  const { clusterSize } = state.geometry
  if (clusterSize > largestHere) return undefined
  try {
    return state.zlib.inflateHere?.(data, clusterSize)
  } catch (error) {
    throw damaged(error)
  }
}

function damaged(cause: unknown): BlockError {
  return new BlockError('EIO', 'a compressed cluster cannot be decompressed', { cause })
}
