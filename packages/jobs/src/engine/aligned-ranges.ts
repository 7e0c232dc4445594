/** Ranges moved to the units of a target. */
import { alignDown, alignUp } from '@diskgraph/core/driver'
import type { Content, Range } from './source.ts'

/**
 * `ranges` with borders at multiples of `unit` (but for the end): a unit with some data in it is data as a whole, so
 * that no cluster of the target is written in two pieces. Where content is absent the borders stay, because what
 * lies there is not the source's to write; `whole` moves them, too, for targets that can only take whole units.
 */
export async function* alignedRanges(
  ranges: AsyncIterable<Range>,
  unit: number,
  whole: boolean,
): AsyncGenerator<Range> {
  let mixed: Range[] = []
  for await (const range of ranges) {
    const end = range.offset + range.length
    let at = range.offset
    if (mixed.length > 0) {
      // A unit is open: it takes what belongs to it.
      const unitEnd = alignUp((mixed[0] as Range).offset + 1, unit)
      const until = Math.min(end, unitEnd)
      mixed.push({ offset: at, length: until - at, content: range.content })
      at = until
      if (at < unitEnd) continue
      yield* oneUnit(mixed, whole)
      mixed = []
    }
    const cut = Math.max(at, alignDown(end, unit))
    if (cut > at) yield { offset: at, length: cut - at, content: range.content }
    if (end > cut) mixed = [{ offset: cut, length: end - cut, content: range.content }]
  }
  if (mixed.length > 0) yield* oneUnit(mixed, whole)
}

function oneUnit(parts: readonly Range[], whole: boolean): readonly Range[] {
  const [{ offset }] = parts as [Range]
  const last = parts[parts.length - 1] as Range
  const contents = new Set<Content>(parts.map(({ content }) => content))
  const length = last.offset + last.length - offset
  if (contents.size === 1) return [{ offset, length, content: last.content }]
  return contents.has('absent') && !whole ? parts : [{ offset, length, content: 'data' }]
}
