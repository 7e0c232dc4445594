/**
 * Making the file as small as what it holds, in place.
 *
 * Once all clusters in use are counted it is known where a file without gaps would end. What stands behind that moves
 * down into free clusters: first the tables of several clusters, as far as there are gaps that they fit into; then, from the
 * end of the file on, data, and the tables that map it, so far that those that are left have a gap then. Refcount blocks that describe nothing any more are given up.
 * That is repeated until nothing moves, and then the file is cut. Each batch of moves is safe against crashes
 * (batch.ts), and after each of them one may stop.
 *
 * The header of LUKS stays where it is, and so does a table that would overlap with itself.
 */
import { Yielder } from '@diskgraph/clusters'
import { BlockError, type CompactOptions, type CompactResult, throwIfAborted } from '@diskgraph/core/driver'
import { cutFile } from '../amend/resize.ts'
import { checkImage } from '../check/check.ts'
import { guardRoots } from '../mapping/active-tables.ts'
import { miscounted } from '../refcounts/refcounts.ts'
import type { Qcow2State } from '../state.ts'
import { Batch } from './batch.ts'
import { FreeSpace } from './free-space.ts'
import { findLeaves, findTables, type Pointers, Target, type Window } from './pointers.ts'
import { moveRuns } from './runs.ts'

/** References that are looked for at once, which bounds the memory. */
const windowReferences = 2 ** 19
const batchBytes = 64 * 2 ** 20
const batchItems = 8192

/** Moves what the image holds to the start of its file, and cuts that. Runs drained. EIO when the image is damaged. */
export async function compactImage(state: Qcow2State, options: CompactOptions): Promise<CompactResult> {
  state.checkUsable()
  if (state.readOnly) throw new BlockError('EROFS', 'the image is read-only and cannot be compacted')
  const { signal } = options
  const { checkErrors, corruptions } = await checkImage(state, { repair: 'leaks', signal })
  if (checkErrors > 0 || corruptions > 0) {
    throw new BlockError('EIO', 'the image is damaged and cannot be compacted', {
      hint: 'repair it with a check first',
    })
  }
  return state.exclusively(async () => {
    const refusal = guardRoots(state)
    if (refusal !== undefined) await refusal
    await state.makeClean()
    const before = state.file.size
    const compaction = new Compaction(state, options)
    try {
      await compaction.run()
    } finally {
      state.allocator.reset()
      state.compressed.clear()
      state.store.l2.invalidate()
      // What fails here has failed before, or is reported by the next flush.
      await finish(state).catch(() => undefined)
    }
    return { moved: compaction.moved, freed: Math.max(0, before - state.file.size) }
  })
}

async function finish(state: Qcow2State): Promise<void> {
  await state.makeClean()
  await state.store.flushFile()
  await cutFile(state)
}

/** In clusters. */
interface Survey {
  readonly used: number
  /** Where a file without gaps, and without refcount blocks that it would not need, would end. */
  readonly limit: number
  readonly end: number
  /** How many are in use between these two. */
  readonly behind: number
}

class Compaction {
  readonly #state: Qcow2State
  readonly #options: CompactOptions
  readonly #yielder: Yielder
  moved = 0
  #total = 0

  constructor(state: Qcow2State, options: CompactOptions) {
    this.#state = state
    this.#options = options
    this.#yielder = new Yielder(options.signal)
  }

  async run(): Promise<void> {
    const { clusterSize } = this.#state.geometry
    for (;;) {
      const { limit, used, end, behind } = await this.#survey()
      if (this.#total === 0) {
        this.#total = behind * clusterSize
        this.#options.onProgress?.(0, this.#total)
      }
      if (end <= limit) break
      const before = this.moved
      const { signal } = this.#options
      const gaps = new FreeSpace(this.#state, limit, signal)
      const stuck = await moveRuns(this.#state, gaps, (batch, change) => this.#run(batch, change))
      // What no gap is long enough for gets one at the end.
      // Refcount blocks that are to go may be in the way until what they describe has moved.
      const space = new FreeSpace(this.#state, used - stuck, signal)
      await this.#moveClusters(space, limit - stuck, end)
      const dropped = await this.#dropBlocks(limit)
      if (this.moved === before && dropped === 0) break
    }
    this.#options.onProgress?.(this.#total, this.#total)
  }

  /** What there is to do. */
  async #survey(): Promise<Survey> {
    const { refcounts, geometry } = this.#state
    const { refcountBlockEntries: entries } = geometry
    const used = new Map<number, number>()
    let end = 0
    let total = 0
    for (let index = 0; index < refcounts.tableEntries; index++) {
      if (refcounts.blockOffset(index) === 0) continue
      let count = 0
      for (let cluster = index * entries; cluster < (index + 1) * entries; cluster++) {
        if ((await this.#count(cluster)) === 0) continue
        count++
        end = cluster + 1
      }
      used.set(index, count)
      total += count
    }
    // Blocks that would describe nothing are not needed then.
    let limit = total
    for (let needed = -1; needed !== limit; ) {
      needed = limit
      let unneeded = 0
      for (const index of used.keys()) if (index * entries >= limit) unneeded++
      limit = total - unneeded
    }
    let behind = 0
    for (let cluster = limit; cluster < end; cluster++) if ((await this.#count(cluster)) > 0) behind++
    return { used: total, limit, end, behind }
  }

  async #count(cluster: number): Promise<number> {
    const turn = this.#yielder.step()
    if (turn !== undefined) await turn
    const { refcounts } = this.#state
    const count = refcounts.peek(cluster)
    return count < 0 ? refcounts.get(cluster) : count
  }

  /** Moves single clusters from cluster `lowest` on, those at the end first. */
  async #moveClusters(space: FreeSpace, lowest: number, end: number): Promise<void> {
    const { clusterSize } = this.#state.geometry
    const { signal } = this.#options
    for (let top = end; top > lowest; ) {
      let start = top
      for (let references = 0; start > lowest; start--) {
        const count = await this.#count(start - 1)
        if (references > 0 && references + count > windowReferences) break
        references += count
      }
      const window: Window = { start: start * clusterSize, end: top * clusterSize }
      await this.#moveAll(space, await findLeaves(this.#state, window, signal))
      await this.#moveAll(space, await findTables(this.#state, window, signal))
      top = start
    }
  }

  /** Moves what `pointers` lead to, in batches from the last on. */
  async #moveAll(space: FreeSpace, pointers: Pointers): Promise<void> {
    const order = pointers.inOrder()
    for (let end = order.length; end > 0; ) {
      let start = end
      let bytes = 0
      let items = 0
      while (start > 0 && items < batchItems && bytes < batchBytes) {
        let first = start - 1
        while (first > 0 && pointers.areSame(order[first - 1]!, order[start - 1]!)) first--
        bytes += pointers.lengths[order[first]!]!
        items += start - first
        start = first
      }
      const batch = new Batch(this.#state)
      const whole = await this.#plan(space, batch, pointers, order.subarray(start, end))
      if (!batch.empty) await this.#run(batch)
      if (!whole) return
      end = start
    }
  }

  /** Finds new places for what the pointers in `order` lead to; whether there were enough. */
  async #plan(space: FreeSpace, batch: Batch, pointers: Pointers, order: Uint32Array): Promise<boolean> {
    const { clusterSize } = this.#state.geometry
    const { positions, targets, lengths, kinds, weights } = pointers
    space.leaveTail()
    for (let i = 0; i < order.length; ) {
      const first = order[i]!
      let next = i
      let weight = 0
      for (; next < order.length && pointers.areSame(first, order[next]!); next++) weight += weights[order[next]!]!
      const [from, length, kind] = [targets[first]!, lengths[first]!, kinds[first]!]
      const cluster = Math.floor(from / clusterSize)
      const compressed = kind === Target.compressed
      const count = compressed ? weight : await this.#count(cluster)
      if (count === 0) throw miscounted(from)
      const to = compressed
        ? await space.takeBytes(batch, from, length, count)
        : (await space.take(batch, 1, count, cluster)) * clusterSize
      if (to < 0) return false
      batch.copy(from, to, length, kind)
      batch.leaves(cluster, Math.ceil((from + length) / clusterSize) - cluster, count)
      for (; i < next; i++) batch.point(positions[order[i]!]!, to, kind)
    }
    return true
  }

  async #run(batch: Batch, change?: () => Promise<void>): Promise<void> {
    throwIfAborted(this.#options.signal)
    await batch.run(change)
    this.moved += batch.bytes
    this.#total = Math.max(this.#total, this.moved)
    this.#options.onProgress?.(this.moved, this.#total)
    throwIfAborted(this.#options.signal)
  }

  /** Gives up refcount blocks behind cluster `limit` that count nothing but themselves; returns how many. */
  async #dropBlocks(limit: number): Promise<number> {
    const { refcounts, store, geometry } = this.#state
    const { refcountBlockEntries: entries, clusterSize } = geometry
    const dropped: number[] = []
    for (let index = Math.ceil(limit / entries); index < refcounts.tableEntries; index++) {
      const offset = refcounts.blockOffset(index)
      if (offset === 0) continue
      let needed = false
      for (let cluster = index * entries; cluster < (index + 1) * entries && !needed; cluster++) {
        needed = (await this.#count(cluster)) > 0 && cluster !== offset / clusterSize
      }
      if (needed) continue
      store.setRefcountTableEntry(index, 0)
      dropped.push(offset)
    }
    if (dropped.length === 0) return 0
    await store.writeRefcounts()
    await store.flushFile()
    for (const offset of dropped) {
      store.blocks.dropRange(offset, clusterSize)
      const cluster = offset / clusterSize
      // One that described itself is free already.
      if (refcounts.blockOffset(Math.floor(cluster / entries)) !== 0) await refcounts.update(cluster, 1, -1)
    }
    return dropped.length
  }
}
