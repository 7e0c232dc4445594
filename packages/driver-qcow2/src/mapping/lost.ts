/** Which parts of the mapping went with the end of a file that was cut: entries of the L1 table, and of L2 tables. */
import { isAligned } from '@diskgraph/core/driver'
import { entrySize } from '../header/layout.ts'
import type { MappedImage } from './active-tables.ts'

/** Whether the entries that map the range from `offset` on are lost, and for how many bytes that holds. */
export function mappingLost(
  { store, file, geometry, header }: MappedImage,
  offset: number,
  length: number,
): { lost: boolean; length: number } {
  const { l2Span, clusterSize, l2EntrySize } = geometry
  const { l1TableOffset } = header.value
  const answer = (lost: boolean, end: number) => ({ lost, length: Math.min(length, end - offset) })
  const index = Math.floor(offset / l2Span)
  const there = Math.max(0, Math.floor((file.size - l1TableOffset) / entrySize))
  if (index >= there) return answer(true, Number.POSITIVE_INFINITY)
  const { l1 } = store
  const table = l1.offsetAt(index)
  const end = (index + 1) * l2Span
  if (table === 0) return answer(false, end)
  if (!Number.isSafeInteger(table) || !isAligned(table, clusterSize)) return answer(true, end)
  const cut = index * l2Span + Math.max(0, Math.floor((file.size - table) / l2EntrySize)) * clusterSize
  return offset < cut ? answer(false, Math.min(cut, end)) : answer(true, end)
}
