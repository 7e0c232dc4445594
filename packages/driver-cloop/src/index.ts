/**
 * Images of the compressed loop device, read-only. Source: what `create_compressed_fs` and QEMU's documentation tell of
 * version 2, and images that they made and read. Numbers are big-endian.
 *
 *     128 bytes, a script that mounts the image
 *     block size │ number of blocks, 32 bits each
 *     offsets    64 bits for each block, and one for the end of the last
 *     blocks     deflated, each by itself
 */

import { InflatedClusters } from '@diskgraph/clusters'
import { zlib } from '@diskgraph/codecs'
import {
  BlockError,
  type BlockStatus,
  type Child,
  type ChildHandle,
  type DriverDescriptor,
  type DriverInfo,
  defineDriver,
  type OpenContext,
  type OpenImage,
  throwIfAborted,
} from '@diskgraph/core/driver'

/** Options of a `cloop` node. */
export interface CloopOptions {
  /** Where the image stands. */
  file: Child
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    cloop: { open: CloopOptions }
  }
}

const signature = new TextEncoder().encode(
  '#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n',
)
const fieldsOffset = 128
const tableOffset = 136
const offsetSize = 8
const sectorSize = 512
const largestBlock = 2 ** 26
const largestTable = 2 ** 29
/** As many as a table of 32 bits of bytes would have. */
const mostBlocks = 2 ** 29 - 1

class CloopImage implements OpenImage {
  readonly size: number
  readonly limits: { readonly optimalTransfer: number }
  readonly #file: ChildHandle
  readonly #blockSize: number
  readonly #offsets: DataView
  readonly #inflated: InflatedClusters

  constructor(file: ChildHandle, blockSize: number, offsets: DataView) {
    this.#file = file
    this.#blockSize = blockSize
    this.#offsets = offsets
    this.#inflated = new InflatedClusters(blockSize)
    this.limits = { optimalTransfer: blockSize }
    this.size = (offsets.byteLength / offsetSize - 1) * blockSize
  }

  async read(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    for (let done = 0; done < buf.length; ) {
      const index = Math.floor((offset + done) / this.#blockSize)
      const skip = offset + done - index * this.#blockSize
      const part = buf.subarray(done, done + this.#blockSize - skip)
      const block = await this.#inflated.get(index, signal, (all) => this.#inflate(index, all))
      part.set(block.subarray(skip, skip + part.length))
      done += part.length
    }
  }

  async #inflate(index: number, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const start = Number(this.#offsets.getBigUint64(index * offsetSize))
    const data = new Uint8Array(Number(this.#offsets.getBigUint64((index + 1) * offsetSize)) - start)
    await this.#file.read(start, data, 0, signal)
    try {
      const block = await zlib.inflate(data, this.#blockSize)
      if (block.length === this.#blockSize) return block
      throw new BlockError('EIO', `${block.length} bytes instead of ${this.#blockSize}`)
    } catch (cause) {
      throwIfAborted(signal)
      throw new BlockError('EIO', `block ${index} of the image cannot be decompressed`, { cause })
    }
  }

  async blockStatus(offset: number, length: number): Promise<BlockStatus> {
    const end = (Math.floor(offset / this.#blockSize) + 1) * this.#blockSize
    return { length: Math.min(length, end - offset), data: true, zero: false, allocated: true, compressed: true }
  }

  info(): Promise<DriverInfo> {
    return Promise.resolve({})
  }
}

function hasSignature(head: Uint8Array): boolean {
  return head.length >= signature.length && signature.every((byte, i) => head[i] === byte)
}

/** Checks what stands before the table of offsets, with QEMU's words; the number of offsets. */
function parseFields(view: DataView, fileSize: number): { readonly blockSize: number; readonly offsets: number } {
  const [blockSize, blocks] = [view.getUint32(0), view.getUint32(4)]
  if (blockSize === 0) throw new BlockError('EINVAL', 'block_size cannot be zero')
  if (blockSize % sectorSize !== 0) {
    throw new BlockError('EINVAL', `block_size ${blockSize} must be a multiple of ${sectorSize}`)
  }
  if (blockSize > largestBlock) throw new BlockError('EINVAL', `block_size ${blockSize} must be 64 MB or less`)
  if (blocks > mostBlocks) throw new BlockError('EINVAL', `n_blocks ${blocks} must be ${mostBlocks} or less`)
  const offsets = blocks + 1
  if (offsets * offsetSize > largestTable) {
    throw new BlockError('EINVAL', 'image requires too many offsets, try increasing block size')
  }
  if (tableOffset + offsets * offsetSize > fileSize) {
    throw new BlockError(
      'EINVAL',
      `the table of ${offsets} offsets ends behind the end of the file (${fileSize} bytes)`,
    )
  }
  return { blockSize, offsets }
}

/** Throws, with QEMU's words, for offsets that are no places of blocks. */
function checkOffsets(offsets: DataView, fileSize: number): void {
  let before = offsets.getBigUint64(0)
  for (let at = offsetSize; at < offsets.byteLength; at += offsetSize) {
    const next = offsets.getBigUint64(at)
    const index = at / offsetSize
    if (next < before) {
      const text = `offsets not monotonically increasing at index ${index}, image file is corrupt`
      throw new BlockError('EINVAL', text)
    }
    if (next - before > BigInt(2 * largestBlock) || next > BigInt(fileSize)) {
      throw new BlockError('EINVAL', `invalid compressed block size at index ${index}, image file is corrupt`)
    }
    before = next
  }
}

async function open({ children }: OpenContext<CloopOptions>): Promise<OpenImage> {
  const file = children.require('file')
  const fields = new Uint8Array(tableOffset - fieldsOffset)
  await file.read(fieldsOffset, fields)
  const { blockSize, offsets } = parseFields(new DataView(fields.buffer), file.size)
  const table = new Uint8Array(offsets * offsetSize)
  await file.read(tableOffset, table)
  const view = new DataView(table.buffer)
  checkOffsets(view, file.size)
  return new CloopImage(file, blockSize, view)
}

/** The driver `cloop`. */
export const cloop: DriverDescriptor = defineDriver<CloopOptions>()({
  name: 'cloop',
  kind: 'format',
  description: 'Images of the compressed loop device, read-only.',
  imageMethods: ['blockStatus'],
  options: { file: { type: 'child', role: 'storage', required: true, description: 'Where the image stands' } },
  readOnly: true,
  probe: (head) => (hasSignature(head) ? 2 : 0),
  open,
})
