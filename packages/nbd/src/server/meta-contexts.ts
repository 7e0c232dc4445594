/**
 * Metadata contexts: what `NBD_CMD_BLOCK_STATUS` tells of an export.
 *
 *     base:allocation              holes and zeroes, see the protocol's document
 *     qemu:allocation-depth        0: absent; 1: the top image has it; n: its n-1th backing file
 *     qemu:dirty-bitmap:<name>     1: dirty
 */
import type { DirtyBitmap, Root } from '@diskgraph/core'
import { AllocationState } from '../wire/protocol.ts'

/** Runs of one status, as the wire has them: length and flags by turns. */
class StatusRuns {
  readonly words: number[] = []
  /** Bytes that the runs cover. */
  covered = 0

  readonly #most: number

  /** For at most `most` runs. */
  constructor(most: number) {
    this.#most = most
  }

  /** Adds a run behind the last one, which grows where it has the same flags. False: it does not fit any more. */
  add(length: number, flags: number): boolean {
    const { words } = this
    const last = words.length - 2
    if (last >= 0 && words[last + 1] === flags) words[last] = (words[last] as number) + length
    else if (words.length === this.#most * 2) return false
    else words.push(length, flags)
    this.covered += length
    return true
  }
}

/** See the top of the file. */
export interface MetaContext {
  readonly id: number
  readonly name: string
  /** Status from `offset` on: of at least one byte, at most `length` bytes and at most `most` runs. */
  status(root: Root, offset: number, length: number, most: number, signal: AbortSignal): Promise<StatusRuns>
}

const allocation: MetaContext = {
  id: 0,
  name: 'base:allocation',
  status: (root, offset, length, most, signal) =>
    chainRuns(root, offset, length, most, signal, ({ data, zero }) => {
      return (data ? 0 : AllocationState.NBD_STATE_HOLE) | (zero ? AllocationState.NBD_STATE_ZERO : 0)
    }),
}

const allocationDepth: MetaContext = {
  id: 1,
  name: 'qemu:allocation-depth',
  status: (root, offset, length, most, signal) =>
    chainRuns(root, offset, length, most, signal, ({ present, depth }) => (present ? depth + 1 : 0)),
}

/** Prefix of the names of contexts that are dirty bitmaps. */
const bitmapPrefix = 'qemu:dirty-bitmap:'

/** The contexts of an export. */
export function metaContexts(depth: boolean, bitmaps: readonly DirtyBitmap[]): readonly MetaContext[] {
  return [allocation, ...(depth ? [allocationDepth] : []), ...bitmaps.map((bitmap, i) => bitmapContext(2 + i, bitmap))]
}

/** The contexts that a client's `query` asks to be listed. A namespace alone asks for all of it. */
export function listedContexts(contexts: readonly MetaContext[], query: string): readonly MetaContext[] {
  const asked = query === 'base:' || query === 'qemu:' || query === bitmapPrefix
  return contexts.filter(({ name }) => name === query || (asked && name.startsWith(query)))
}

function bitmapContext(id: number, bitmap: DirtyBitmap): MetaContext {
  return {
    id,
    name: bitmapPrefix + bitmap.name,
    async status(_root, offset, length, most) {
      const runs = new StatusRuns(most)
      const end = offset + length
      for (let at = offset; at < end; ) {
        const dirty = bitmap.nextDirty(at, end)
        const start = dirty === undefined ? end : Math.max(at, dirty.offset)
        const stop = dirty === undefined ? end : Math.min(end, dirty.offset + dirty.length)
        if (start > at && !runs.add(start - at, 0)) break
        if (stop > start && !runs.add(stop - start, 1)) break
        at = stop
      }
      return runs
    },
  }
}

async function chainRuns(
  root: Root,
  offset: number,
  length: number,
  most: number,
  signal: AbortSignal,
  flagsOf: (extent: { data: boolean; zero: boolean; present: boolean; depth: number }) => number,
): Promise<StatusRuns> {
  const runs = new StatusRuns(most)
  while (runs.covered < length) {
    const extent = await root.status(offset + runs.covered, length - runs.covered, undefined, signal)
    // The disk may have shrunk meanwhile.
    if (extent === undefined || !runs.add(extent.length, flagsOf(extent))) break
  }
  return runs
}
