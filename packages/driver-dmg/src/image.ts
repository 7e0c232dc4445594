/** An open image: chunks that are stored as they are, compressed, or zeroes. */
import { InflatedClusters } from '@diskgraph/clusters'
import { type Inflater, zlib } from '@diskgraph/codecs'
import {
  BlockError,
  type BlockStatus,
  type ChildHandle,
  type DriverInfo,
  type OpenImage,
  throwIfAborted,
} from '@diskgraph/core/driver'
import { chunkAt, type DiskChunk, hasData } from './chunks.ts'
import { adc } from './codecs/adc.ts'
import { bzip2 } from './codecs/bzip2.ts'
import { xzInflater } from './codecs/xz.ts'
import { Kind } from './layout.ts'

const inflaters = new Map<number, () => Inflater | Promise<Inflater>>([
  [Kind.adc, () => adc],
  [Kind.zlib, () => zlib],
  [Kind.bzip2, () => bzip2],
  [Kind.lzma, xzInflater],
])

/** Whether chunks of that kind can be read. */
export function isReadable(kind: number): boolean {
  return !hasData(kind) || kind === Kind.raw || inflaters.has(kind)
}

/** How a message calls a kind that cannot be read. */
export function nameOfKind(kind: number): string {
  return kind === Kind.lzfse ? 'lzfse' : kind.toString(16)
}

/** See the top of this file. */
export class DmgImage implements OpenImage {
  readonly size: number
  readonly #file: ChildHandle
  readonly #chunks: readonly DiskChunk[]
  readonly #inflated: InflatedClusters

  constructor(file: ChildHandle, size: number, chunks: readonly DiskChunk[]) {
    this.size = size
    this.#file = file
    this.#chunks = chunks
    const largest = chunks.reduce(
      (most, { kind, size: bytes }) => (inflaters.has(kind) ? Math.max(most, bytes) : most),
      1,
    )
    this.#inflated = new InflatedClusters(largest)
  }

  async read(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    for (let done = 0; done < buf.length; ) {
      const index = chunkAt(this.#chunks, offset + done)
      const chunk = this.#chunks[index] as DiskChunk
      const skip = offset + done - chunk.start
      const part = buf.subarray(done, done + chunk.size - skip)
      if (!hasData(chunk.kind)) part.fill(0)
      else if (chunk.kind === Kind.raw) await this.#file.read(chunk.offset + skip, part, 0, signal)
      else {
        const bytes = await this.#inflated.get(index, signal, (all) => this.#inflate(chunk, all))
        part.set(bytes.subarray(skip, skip + part.length))
      }
      done += part.length
    }
  }

  async #inflate(
    { kind, start, size, offset, length }: DiskChunk,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array> {
    const inflater = await inflaters.get(kind)?.()
    if (inflater === undefined) {
      throw new BlockError('ENOTSUP', `the chunk at ${start} is of kind '${nameOfKind(kind)}', which is not read here`)
    }
    const data = new Uint8Array(length)
    await this.#file.read(offset, data, 0, signal)
    try {
      const bytes = await inflater.inflate(data, size)
      if (bytes.length === size) return bytes
      throw new BlockError('EIO', `${bytes.length} bytes instead of ${size}`)
    } catch (cause) {
      throwIfAborted(signal)
      throw new BlockError('EIO', `the chunk at ${start} of the disk cannot be decompressed`, { cause })
    }
  }

  async blockStatus(offset: number, length: number): Promise<BlockStatus> {
    const { kind, start, size, offset: host } = this.#chunks[chunkAt(this.#chunks, offset)] as DiskChunk
    const rest = Math.min(length, start + size - offset)
    if (!hasData(kind)) return { length: rest, data: false, zero: true, allocated: true }
    const data = { length: rest, data: true, zero: false, allocated: true }
    if (kind === Kind.raw) return { ...data, file: this.#file, offset: host + offset - start }
    return { ...data, compressed: true }
  }

  info(): Promise<DriverInfo> {
    return Promise.resolve({})
  }
}
