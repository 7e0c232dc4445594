/** Reading whole tables of the image, never more than the file holds. */
import { alignDown, type ChildHandle } from '@diskgraph/core/driver'
import { entrySize } from '../header/layout.ts'
import { RootTable } from './root-table.ts'

/** Reads a table of `entries` entries at `offset`; entries past the end of the file are 0. */
export async function readTable(file: ChildHandle, offset: number, entries: number): Promise<RootTable> {
  const data = new Uint8Array(entries * entrySize)
  const inside = alignDown(Math.max(0, Math.min(data.byteLength, file.size - offset)), 1)
  if (inside > 0) await file.read(offset, data.subarray(0, inside))
  return new RootTable(offset, data)
}
