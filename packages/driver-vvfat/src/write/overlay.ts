/**
 * What a guest has written and no file of the host holds yet: sectors in a temporary file that has no name, and a byte for
 * each of them that says whether it is there, in pieces that come into being where something is written.
 */
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { toBlockError } from '@diskgraph/core/driver'
import { sectorSize } from '../disk/geometry.ts'

const pieceSectors = 4096
const absent = 0
const present = 1
/** A file of the host holds what counts of it: its last sector, behind whose end a guest may have written more. */
const settled = 2

/** See the top of the file. Offsets and lengths are whole sectors. */
export class Overlay {
  readonly #handle: FileHandle
  readonly #folder: string
  readonly #states = new Map<number, Uint8Array>()

  private constructor(handle: FileHandle, folder: string) {
    this.#handle = handle
    this.#folder = folder
  }

  static async make(): Promise<Overlay> {
    const folder = await mkdtemp(join(tmpdir(), 'diskgraph-vvfat-'))
    try {
      return new Overlay(await open(join(folder, 'written'), 'wx+', 0o600), folder)
    } catch (error) {
      await rm(folder, { recursive: true })
      throw error
    }
  }

  async close(): Promise<void> {
    await this.#handle.close()
    await rm(this.#folder, { recursive: true, force: true })
  }

  async write(offset: number, buf: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < buf.length; ) {
        const { bytesWritten } = await this.#handle.write(buf, done, buf.length - done, offset + done)
        done += bytesWritten
      }
    } catch (error) {
      throw toBlockError(error, `cannot keep ${buf.length} bytes at ${offset} in a temporary file`)
    }
    this.#set(offset, buf.length, present)
  }

  async read(offset: number, buf: Uint8Array): Promise<void> {
    let done = 0
    while (done < buf.length) {
      const { bytesRead } = await this.#handle.read(buf, done, buf.length - done, offset + done)
      if (bytesRead === 0) break
      done += bytesRead
    }
    buf.fill(0, done)
  }

  /** Whether the sector at `offset` was written, and for how many of `length` bytes that holds. */
  at(offset: number, length: number): { readonly length: number; readonly written: boolean } {
    const written = this.#state(offset / sectorSize) !== absent
    let end = sectorSize
    while (end < length && (this.#state((offset + end) / sectorSize) !== absent) === written) end += sectorSize
    return { length: Math.min(end, length), written }
  }

  /** Whether something in a range is held here alone. */
  changes(offset: number, length: number): boolean {
    for (let at = 0; at < length; at += sectorSize) {
      if (this.#state((offset + at) / sectorSize) === present) return true
    }
    return false
  }

  /** A file of the host holds a range now. Whole sectors are forgotten, the rest of a last one may still be wanted. */
  settle(offset: number, length: number): void {
    const whole = length - (length % sectorSize)
    this.#set(offset, whole, absent)
    const last = (offset + whole) / sectorSize
    if (whole < length && this.#state(last) === present) this.#set(offset + whole, sectorSize, settled)
  }

  #state(sector: number): number {
    return this.#states.get(Math.floor(sector / pieceSectors))?.[sector % pieceSectors] ?? absent
  }

  #set(offset: number, length: number, state: number): void {
    const end = (offset + length) / sectorSize
    for (let sector = offset / sectorSize; sector < end; sector++) {
      const index = Math.floor(sector / pieceSectors)
      let piece = this.#states.get(index)
      if (piece === undefined) {
        if (state === absent) continue
        piece = new Uint8Array(pieceSectors)
        this.#states.set(index, piece)
      }
      piece[sector % pieceSectors] = state
    }
  }
}
