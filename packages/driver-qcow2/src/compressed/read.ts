/**
 * Reading compressed clusters. Neighbours whose data stands behind each other in the file, as writers pack it, are
 * read with one request and inflated at the same time.
 *
 *     ├ sector ┼ sector ┼ sector ┼ sector ┤
 *          [ cluster 7  ][ cluster 8 ][ 9 …        each descriptor: start byte, number of sectors it reaches into
 */

import { type CompressedData, InflatedClusters, TaskPool } from '@diskgraph/clusters'
import type { Codec } from '@diskgraph/codecs'
import { BlockError } from '@diskgraph/core/driver'
import { compressedDescriptor, hiCompressed } from '../header/layout.ts'
import type { MappedImage } from '../mapping/active-tables.ts'

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

/** What compressed clusters need of an image. */
export interface CompressedImage extends MappedImage {
  readonly codec: Codec
}

/** See the top of this file. */
export class CompressedClusters implements CompressedData {
  private readonly image: CompressedImage
  private readonly inflated: InflatedClusters

  constructor(image: CompressedImage) {
    this.image = image
    this.inflated = new InflatedClusters(image.geometry.clusterSize)
  }

  read(offset: number, buf: Uint8Array, pool: TaskPool, signal: AbortSignal | undefined): number {
    const { geometry, map, store } = this.image
    const { clusterSize } = geometry
    const place = map.place(offset)
    const { view } = store.l2.peek(place.slice)!
    const pieces: Piece[] = []
    let skip = offset - Math.floor(offset / clusterSize) * clusterSize
    let covered = 0
    for (let i = 0; i < Math.min(place.rest, maxClusters) && covered < buf.length; i++) {
      const hi = view.getUint32(place.at + i * geometry.l2EntrySize)
      const lo = view.getUint32(place.at + i * geometry.l2EntrySize + 4)
      if ((hi & hiCompressed) === 0) break
      const data = compressedDescriptor(geometry, hi, lo)
      if (pieces.length > 0 && !follows(pieces, data.offset, data.length)) break
      const length = Math.min(clusterSize - skip, buf.length - covered)
      pieces.push({ ...data, skip, target: buf.subarray(covered, covered + length) })
      covered += length
      skip = 0
    }
    pool.add(this.readTogether(pieces, signal))
    return covered
  }

  /** Forgets what was inflated: clusters were freed and may hold other data soon. */
  clear(): void {
    this.inflated.clear()
  }

  private async readTogether(pieces: readonly Piece[], signal: AbortSignal | undefined): Promise<void> {
    const first = pieces[0]!
    const last = pieces.at(-1)!
    if (first === last) return copyOut(await this.cached(first, signal), first)
    const data = await this.readData(first.offset, last.offset + last.length - first.offset, signal)
    const partOf = (piece: Piece): Uint8Array => {
      const from = piece.offset - first.offset
      return data.subarray(from, from + piece.length)
    }
    const pool = new TaskPool()
    pieces.forEach((piece, i) => {
      if (i % shareOfPool !== 0) pool.add(this.inflate(partOf(piece)).then((cluster) => copyOut(cluster, piece)))
    })
    for (let i = 0; i < pieces.length && !pool.failed; i += shareOfPool) {
      const piece = pieces[i]!
      try {
        copyOut(this.inflateHere(partOf(piece)) ?? (await this.inflate(partOf(piece))), piece)
      } catch (error) {
        pool.fail(error)
      }
    }
    return pool.finish()
  }

  /** A whole cluster, inflated unless it is at hand. */
  private cached({ offset, length }: Piece, signal: AbortSignal | undefined): Promise<Uint8Array> {
    return this.inflated.get(offset, signal, async (all) => {
      const data = await this.readData(offset, length, all)
      return this.inflateHere(data) ?? this.inflate(data)
    })
  }

  private async readData(offset: number, length: number, signal: AbortSignal | undefined): Promise<Uint8Array> {
    if (!Number.isSafeInteger(offset + length)) {
      throw new BlockError('EIO', 'a compressed cluster points beyond the largest possible offset')
    }
    const { file, frees } = this.image
    const data = new Uint8Array(length)
    const held = file.debugEvent('read_compressed')
    if (held === undefined) await frees.track(file.read(offset, data, 0, signal))
    else await frees.track(held.then(() => file.read(offset, data, 0, signal)))
    return data
  }

  private async inflate(data: Uint8Array): Promise<Uint8Array> {
    try {
      return await this.image.codec.inflate(data, this.image.geometry.clusterSize)
    } catch (error) {
      throw damaged(error)
    }
  }

  /** Inflates a small cluster at once; undefined when it is to be done elsewhere. */
  private inflateHere(data: Uint8Array): Uint8Array | undefined {
    const { codec, geometry } = this.image
    if (geometry.clusterSize > largestHere) return undefined
    try {
      return codec.inflateHere?.(data, geometry.clusterSize)
    } catch (error) {
      throw damaged(error)
    }
  }
}

function follows(pieces: readonly Piece[], offset: number, length: number): boolean {
  const first = pieces[0]!
  const last = pieces.at(-1)!
  return offset > last.offset && offset <= last.offset + last.length && offset + length - first.offset <= maxRead
}

function copyOut(cluster: Uint8Array, piece: Piece): void {
  piece.target.set(cluster.subarray(piece.skip, piece.skip + piece.target.length))
}

function damaged(cause: unknown): BlockError {
  return new BlockError('EIO', 'a compressed cluster cannot be decompressed', { cause })
}
