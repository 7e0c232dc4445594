/**
 * A tiny format to prove the kit with, and with switches that make it wrong.
 *
 *     0        header: "toy1", clusters in the map (u32), virtual size (u32)
 *     4096     map: per virtual cluster of 4 KiB the host cluster (u32), 0 for none
 *     ...      a count per host cluster (u32): 1 while it is in use
 *     ...      clusters
 *
 * Order of an allocation: count, flush, data, map entry. A crash leaves at most counts without a map entry (leaks).
 */
import { BlockError, type CheckOptions, type DriverDescriptor, type ImageCheck } from '@diskgraph/core'
import { alignUp, type ChildHandle, type OpenImage } from '@diskgraph/core/driver'

const clusterSize = 4096
const mapAt = 4096

export type Mistake =
  | 'none'
  | 'map-before-count'
  | 'no-flush'
  | 'short-read'
  | 'writes-outside'
  | 'changes-buffer'
  | 'keeps-buffer'
  | 'loses-concurrent'
  | 'lies-zero'
  | 'swallows-errors'
  | 'plain-error'
  | 'throws-at-once'
  | 'trusts-header'
  | 'hangs'

class ToyImage implements OpenImage {
  readonly size: number
  readonly #file: ChildHandle
  readonly #map: Uint32Array
  readonly #counts: Uint32Array
  readonly #mistake: Mistake
  #turn: Promise<unknown> = Promise.resolve()

  constructor(file: ChildHandle, size: number, map: Uint32Array, counts: Uint32Array, mistake: Mistake) {
    this.#file = file
    this.size = size
    this.#map = map
    this.#counts = counts
    this.#mistake = mistake
  }

  read(offset: number, buf: Uint8Array): Promise<void> {
    if (this.#mistake === 'throws-at-once') throw new Error('not a rejection')
    if (this.#mistake === 'plain-error' && buf.length === 513) return Promise.reject(new Error('not a BlockError'))
    return this.#inOrder(() => this.#read(offset, buf))
  }

  async #read(offset: number, buf: Uint8Array): Promise<void> {
    for (let at = 0; at < buf.length; ) {
      const index = Math.floor((offset + at) / clusterSize)
      const start = (offset + at) % clusterSize
      const length = Math.min(clusterSize - start, buf.length - at)
      const host = this.#map[index] as number
      const piece = buf.subarray(at, at + length)
      if (host === 0) piece.fill(0)
      else await this.#file.read(host * clusterSize + start, piece)
      at += length
    }
    if (this.#mistake === 'writes-outside') new Uint8Array(buf.buffer)[buf.byteOffset + buf.length] = 0
  }

  write(offset: number, buf: Uint8Array): Promise<void> {
    if (this.#mistake === 'changes-buffer') buf[0] = (buf[0] as number) ^ 0xff
    if (this.#mistake === 'loses-concurrent') return this.#write(offset, buf)
    if (this.#mistake === 'keeps-buffer') {
      void this.#inOrder(() => this.#write(offset, buf))
      return Promise.resolve()
    }
    return this.#inOrder(() => this.#write(offset, buf))
  }

  async #write(offset: number, buf: Uint8Array): Promise<void> {
    for (let at = 0; at < buf.length; ) {
      const index = Math.floor((offset + at) / clusterSize)
      const start = (offset + at) % clusterSize
      const length = Math.min(clusterSize - start, buf.length - at)
      await this.#writeCluster(index, start, buf.subarray(at, at + length))
      at += length
    }
  }

  async #writeCluster(index: number, start: number, piece: Uint8Array): Promise<void> {
    const host = this.#map[index] as number
    if (host !== 0) return this.#file.write(host * clusterSize + start, piece)
    const cluster = new Uint8Array(clusterSize)
    if (this.#mistake === 'loses-concurrent') await this.#read(index * clusterSize, cluster)
    cluster.set(piece, start)
    const fresh = this.#counts.findIndex((count, i) => count === 0 && i * clusterSize >= this.#clustersAt())
    if (fresh < 0) throw new BlockError('ENOSPC', 'no cluster is free')
    this.#counts[fresh] = 1
    if (this.#mistake === 'map-before-count') await this.#writeMap(index, fresh)
    await this.#writeWord(this.#countsAt() + fresh * 4, 1)
    if (this.#mistake !== 'no-flush') await this.#file.flush()
    try {
      await this.#file.write(fresh * clusterSize, cluster)
    } catch (error) {
      if (this.#mistake !== 'swallows-errors') throw error
    }
    await this.#writeMap(index, fresh)
    this.#map[index] = fresh
  }

  blockStatus(offset: number, length: number) {
    const index = Math.floor(offset / clusterSize)
    const host = this.#map[index] as number
    const within = Math.min(length, (index + 1) * clusterSize - offset)
    const zero = host === 0 || this.#mistake === 'lies-zero'
    return Promise.resolve({ length: within, data: !zero, zero, allocated: true })
  }

  async check({ onFinding }: CheckOptions): Promise<ImageCheck> {
    let corruptions = 0
    let leaks = 0
    const used = new Uint32Array(this.#counts.length)
    for (const host of this.#map) {
      if (host !== 0 && host >= used.length) corruptions++
      else if (host !== 0) used[host] = (used[host] as number) + 1
    }
    for (let i = 0; i < used.length; i++) {
      const difference = (this.#counts[i] as number) - (used[i] as number)
      if (difference < 0 || (used[i] as number) > 1) corruptions++
      else if (difference > 0) leaks++
      if (difference !== 0) onFinding?.(difference < 0 ? 'error' : 'leak', `cluster ${i}`)
    }
    return { checkErrors: 0, corruptions, leaks, corruptionsFixed: 0, leaksFixed: 0 }
  }

  #countsAt(): number {
    return mapAt + alignUp(this.#map.length * 4, clusterSize)
  }

  #clustersAt(): number {
    return this.#countsAt() + alignUp(this.#counts.length * 4, clusterSize)
  }

  #writeMap(index: number, host: number): Promise<void> {
    return this.#writeWord(mapAt + index * 4, host)
  }

  #writeWord(offset: number, value: number): Promise<void> {
    const word = new Uint8Array(4)
    new DataView(word.buffer).setUint32(0, value)
    return this.#file.write(offset, word)
  }

  #inOrder(work: () => Promise<void>): Promise<void> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => undefined)
    return result
  }
}

function checkHeader(clusters: number, size: number): void {
  if (clusters * clusterSize < size || clusters > 2 ** 16) throw new BlockError('EINVAL', 'the map has a wrong size')
}

async function readWords(file: ChildHandle, offset: number, count: number): Promise<Uint32Array> {
  const buf = new Uint8Array(count * 4)
  await file.read(offset, buf)
  const view = new DataView(buf.buffer)
  return Uint32Array.from({ length: count }, (_, i) => view.getUint32(i * 4))
}

/** The driver `toy`, with one mistake or none. */
export function toyFormat(mistake: Mistake = 'none'): DriverDescriptor {
  return {
    name: 'toy',
    kind: 'format',
    description: 'A tiny format for the tests of the kit.',
    options: { file: { type: 'child', role: 'storage', required: true, description: 'Where it stands' } },
    createOptions: {
      file: { type: 'child', role: 'storage', required: true, description: 'Where to write' },
      size: { type: 'integer', required: true, description: 'Size of the disk' },
    },
    probe: (head) => (String.fromCharCode(...head.subarray(0, 4)) === 'toy1' ? 100 : 0),
    async create(context) {
      const file = context.children.require('file')
      const header = new Uint8Array(12)
      header.set(new TextEncoder().encode('toy1'))
      const size = context.options.size as number
      new DataView(header.buffer).setUint32(4, Math.ceil(size / clusterSize))
      new DataView(header.buffer).setUint32(8, size)
      await file.truncate(mapAt)
      await file.write(0, header)
    },
    async open(context) {
      const file = context.children.require('file')
      const [magic, clusters, size] = await readWords(file, 0, 3)
      if (magic !== 0x746f7931) throw new BlockError('EINVAL', 'not a toy image')
      const count = clusters as number
      if (mistake === 'hangs') while (count !== Math.ceil((size as number) / clusterSize));
      if (mistake !== 'trusts-header') checkHeader(count, size as number)
      const map = await readWords(file, mapAt, count)
      const counts = await readWords(file, mapAt + alignUp(count * 4, clusterSize), count * 2 + 64)
      return new ToyImage(file, size as number, map, counts, mistake)
    },
  }
}
