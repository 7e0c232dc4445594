/**
 * A table that is in memory as a whole: the L1 table or the refcount table. The changed 512-byte blocks of it are
 * written by `MetadataStore` when what the new entries point to is safe on disk.
 */
import { alignDown, type ChildHandle, isZero } from '@diskgraph/core/driver'
import { highHalf, lowHalf, viewOf } from '../bytes.ts'
import { entrySize, offsetOf } from '../header/layout.ts'
import { allocateHoles } from './holes.ts'

const blockSize = 512

/** See the top of this file. */
export class RootTable {
  /** Where it stands in the file. */
  readonly offset: number
  /** Number of entries. */
  readonly entries: number
  readonly data: Uint8Array
  readonly view: DataView
  private readonly changed = new Set<number>()

  /** Over `data`, the bytes of the table as they stand on disk; the table owns them from now on. */
  constructor(offset: number, data: Uint8Array) {
    this.offset = offset
    this.data = data
    this.view = viewOf(data)
    this.entries = data.byteLength / entrySize
  }

  get dirty(): boolean {
    return this.changed.size > 0
  }

  /** Upper half of an entry. */
  high(index: number): number {
    return this.view.getUint32(index * entrySize)
  }

  /** Lower half of an entry. */
  low(index: number): number {
    return this.view.getUint32(index * entrySize + 4)
  }

  /** The host offset in an L1 entry (bits 9-55), or 0. */
  offsetAt(index: number): number {
    const at = index * entrySize
    return offsetOf(this.view.getUint32(at), this.view.getUint32(at + 4))
  }

  /** Makes sure that no hole of the file is where an entry stands, before it is set. */
  async allocateEntry(
    file: ChildHandle,
    index: number,
    guard: (offset: number, length: number) => Promise<void> | undefined,
  ): Promise<void> {
    const from = Math.floor((index * entrySize) / blockSize) * blockSize
    const block = this.data.subarray(from, Math.min(from + blockSize, this.data.byteLength))
    if (isZero(block)) await allocateHoles(file, this.offset + from, block, guard)
  }

  /** Sets an entry to `offset`, with `flags` or-ed into its upper half. Written later. */
  set(index: number, offset: number, flags: number): void {
    const at = index * entrySize
    this.view.setUint32(at, (highHalf(offset) | flags) >>> 0)
    this.view.setUint32(at + 4, lowHalf(offset))
    this.changed.add(Math.floor(at / blockSize))
  }

  /** Writes the changed blocks to the file; they stay changed if that fails. */
  async write(
    file: ChildHandle,
    event: string,
    guard: (offset: number, length: number) => Promise<void> | undefined,
  ): Promise<void> {
    const blocks = [...this.changed].sort((a, b) => a - b)
    for (let i = 0; i < blocks.length; ) {
      let end = i + 1
      while (end < blocks.length && blocks[end] === blocks[end - 1]! + 1) end++
      const from = blocks[i]! * blockSize
      const to = Math.min((blocks[end - 1]! + 1) * blockSize, this.data.byteLength)
      const refusal = guard(this.offset + from, to - from)
      if (refusal !== undefined) await refusal
      const held = file.debugEvent(event)
      if (held !== undefined) await held
      await file.write(this.offset + from, this.data.subarray(from, to))
      for (; i < end; i++) this.changed.delete(blocks[i]!)
    }
  }
}

/** Reads a table of `entries` entries at `offset`; entries past the end of the file are 0. */
export async function readTable(file: ChildHandle, offset: number, entries: number): Promise<RootTable> {
  const data = new Uint8Array(entries * entrySize)
  const inside = alignDown(Math.max(0, Math.min(data.byteLength, file.size - offset)), 1)
  if (inside > 0) await file.read(offset, data.subarray(0, inside))
  return new RootTable(offset, data)
}
