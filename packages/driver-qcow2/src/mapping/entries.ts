/** Walks L2 entries that are to be changed without new data: zeroing and discarding. */
import { throwIfAborted } from '@diskgraph/core/driver'
import { Yielder } from '../concurrency.ts'
import { entrySize } from '../header/layout.ts'
import type { Qcow2State } from '../state.ts'
import { ensureTable, l1IndexOf, nextTable } from './l2-tables.ts'
import { entryPlace } from './map.ts'

const unitsPerSlice = 50

/** What happens to the entries of a range. */
export interface EntryChange {
  /** Whether ranges without an L2 table need one: else they are left out. */
  readonly createTables: boolean
  /** Changes the entry at byte `at` of `view`; whether it did. Runs under the mutex, in one stretch per slice. */
  change(view: DataView, at: number): boolean
}

/**
 * Applies `change` to all entries for the whole clusters from `start` to `end`, slice by slice. Waits for
 * allocations on their way in the range. The mutex is free between two slices.
 */
export async function changeEntries(
  state: Qcow2State,
  start: number,
  end: number,
  change: EntryChange,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { mutex } = state
  let yielder: Yielder | undefined
  for (let at = start; at < end; ) {
    throwIfAborted(signal)
    if (at > start) {
      yielder ??= new Yielder(signal)
      const turn = yielder.step(unitsPerSlice)
      if (turn !== undefined) await turn
    }
    const blocker = state.inFlight.firstOverlap(at, end)
    if (blocker !== undefined && blocker.start <= at) {
      await blocker.settled
      continue
    }
    if (state.frees.crowded) await state.flushFrees()
    const limit = blocker === undefined ? end : blocker.start
    const wait = mutex.lock()
    if (wait !== undefined) await wait
    try {
      if (state.inFlight.firstOverlap(at, limit) === undefined) at = await changeSlice(state, at, limit, change)
    } finally {
      mutex.unlock()
    }
  }
}

/** Changes the entries of one slice; returns the guest offset behind it. */
async function changeSlice(state: Qcow2State, start: number, end: number, change: EntryChange): Promise<number> {
  state.checkUsable()
  const { geometry, store } = state
  const l1Index = l1IndexOf(state, start)
  if (!change.createTables && (l1Index >= store.l1.entries || store.l1.offsetAt(l1Index) === 0)) {
    return Math.min(end, nextTable(state, start))
  }
  if (store.l2.crowded) await store.writeMapping()
  await ensureTable(state, l1Index)
  const place = entryPlace(state, start)
  let slice = store.l2.peekRoom(place.slice)
  while (slice === undefined) {
    await store.l2.provide(place.slice)
    slice = store.l2.peekRoom(place.slice)
  }
  const count = Math.min(place.rest, Math.ceil((end - start) / geometry.clusterSize))
  let changed = false
  for (let i = 0; i < count; i++) {
    if (change.change(slice.view, place.at + i * entrySize)) changed = true
  }
  if (changed) store.l2.markDirty(slice)
  return start + count * geometry.clusterSize
}
