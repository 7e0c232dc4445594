/**
 * Direct access (`cache.direct`, O_DIRECT): requests go past the page cache, so the kernel wants the offset, the
 * length and the address of the buffer aligned. The core aligns offset and length. A buffer whose address does not
 * fit is copied through one of a few aligned pieces of memory that live as long as the image; who finds none free
 * waits.
 *
 * The end of a file need not be aligned: a read that reaches it comes back short and is filled with zeroes, and a
 * write of the last block makes the file end with the block.
 */
import fs from 'node:fs'
import { throwIfAborted } from '@diskgraph/core/driver'
import { alignedMemory, native, type Posix } from '@diskgraph/posix'
import { readFully, type Target, type WriteTarget, writeFully } from './transfer.ts'

const pieceSize = 1024 * 1024
const pieceCount = 4
/** Enough for the address on every device known; it costs nothing to ask for more than is needed. */
const memoryAlignment = 4096

/** Aligned transfers of one image. */
export class DirectTransfer {
  /** What offsets and lengths are multiples of. */
  readonly unit: number
  readonly #posix: Posix | null = native()
  readonly #free: Uint8Array[] = []
  readonly #waiting: ((piece: Uint8Array) => void)[] = []

  constructor(unit: number) {
    this.unit = unit
    const memory = alignedMemory(pieceSize * pieceCount, memoryAlignment)
    for (let i = 0; i < pieceCount; i++) this.#free.push(memory.subarray(i * pieceSize, (i + 1) * pieceSize))
  }

  read(target: Target, offset: number, buf: Uint8Array, signal?: AbortSignal): Promise<void> {
    if (this.#fits(buf)) return readFully(target, buf, 0, offset, this.unit)
    return this.#inPieces(buf, signal, async (part, piece, at) => {
      await readFully(target, piece, 0, offset + at, this.unit)
      part.set(piece)
    })
  }

  write(target: WriteTarget, offset: number, buf: Uint8Array, signal?: AbortSignal): Promise<void> {
    if (this.#fits(buf)) return writeFully(target, buf, offset)
    return this.#inPieces(buf, signal, (part, piece, at) => {
      piece.set(part)
      return writeFully(target, piece, offset + at)
    })
  }

  #fits(buf: Uint8Array): boolean {
    return this.#posix?.isMemoryAligned(buf, memoryAlignment) === true
  }

  async #inPieces(
    buf: Uint8Array,
    signal: AbortSignal | undefined,
    transfer: (part: Uint8Array, piece: Uint8Array, at: number) => Promise<void>,
  ): Promise<void> {
    const piece = await this.#take()
    try {
      for (let at = 0; at < buf.byteLength; at += pieceSize) {
        throwIfAborted(signal)
        const part = buf.subarray(at, at + pieceSize)
        await transfer(part, piece.subarray(0, part.byteLength), at)
      }
    } finally {
      this.#give(piece)
    }
  }

  #take(): Promise<Uint8Array> | Uint8Array {
    return this.#free.pop() ?? new Promise((resolve) => this.#waiting.push(resolve))
  }

  #give(piece: Uint8Array): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free.push(piece)
    else next(piece)
  }
}

/** The unit of direct requests on `fd`: what the kernel says, else the smallest that a read succeeds with. */
export function directUnit(fd: number, size: number): number {
  const told = native()?.directAlignment(fd)
  if (told !== undefined) return told.offset
  if (size === 0) return memoryAlignment
  const memory = alignedMemory(memoryAlignment, memoryAlignment)
  for (let unit = 512; unit < memoryAlignment; unit *= 2) {
    try {
      fs.readSync(fd, memory, 0, unit, 0)
      return unit
    } catch {
      // Too small for this device, or broken: the first request says which.
    }
  }
  return memoryAlignment
}
