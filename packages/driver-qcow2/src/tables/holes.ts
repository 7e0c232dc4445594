/**
 * Holes under metadata. They take no storage until they are written: a table that stands in one cannot be written any
 * more when the storage is full. Before it is changed for the first time it is therefore written as it is, so that
 * what is acknowledged afterwards can always be stored.
 */
import { type ChildHandle, isZero } from '@diskgraph/core/driver'

/** File systems allocate in units of this size, or smaller ones. */
const pageSize = 4096

/** Allocates the holes under `data`, which stands at `offset` and does not change meanwhile. */
export async function allocateHoles(
  file: ChildHandle,
  offset: number,
  data: Uint8Array,
  guard: (offset: number, length: number) => Promise<void> | undefined,
): Promise<void> {
  for (let at = 0; at < data.byteLength; at += pageSize) {
    const end = Math.min(at + pageSize, data.byteLength)
    if (!isZero(data.subarray(at, end)) || !(await hasHole(file, offset + at, end - at))) continue
    const refusal = guard(offset, data.byteLength)
    if (refusal !== undefined) await refusal
    // A copy: the buffer may get another use while this is on its way.
    return file.write(offset, data.slice())
  }
}

async function hasHole(file: ChildHandle, offset: number, length: number): Promise<boolean> {
  for (let at = 0; at < length; ) {
    if (offset + at >= file.size) return true
    const status = await file.blockStatus(offset + at, length - at)
    if (!status.data) return true
    at += status.length
  }
  return false
}
