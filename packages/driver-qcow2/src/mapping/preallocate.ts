/**
 * Allocating clusters before they are written. Their data must read as zeroes: space behind the end of the file
 * does by itself, space inside it is zeroed.
 */
import { alignDown, isZero, type Preallocation, throwIfAborted } from '@diskgraph/core/driver'
import { highHalf, lowHalf } from '../bytes.ts'
import { readBacking } from '../data/read.ts'
import { entrySize, hiCopied } from '../header/layout.ts'
import type { Qcow2State } from '../state.ts'
import { ensureTable, l1IndexOf } from './l2-tables.ts'
import { entryPlace, Kind, kindOf } from './map.ts'

const zeroesSize = 1024 * 1024

/** What is preallocated, and how. */
export interface PreallocatedRange {
  /** In the guest; may lie behind the disk. In the cluster that `start` cuts, what stands before it stays. */
  readonly start: number
  readonly end: number
  readonly mode: Preallocation
}

/** Allocates all unallocated clusters of a guest range. Runs drained. */
export async function preallocate(state: Qcow2State, range: PreallocatedRange, signal?: AbortSignal): Promise<void> {
  const { clusterSize } = state.geometry
  const { start, end, mode } = range
  const fileEnd = state.file.size
  for (let at = alignDown(start, clusterSize); at < end; ) {
    throwIfAborted(signal)
    at = await state.exclusively(async () => {
      const run = await takeRun(state, at, end)
      const length = run.count * clusterSize
      if (run.host === 0) return at + length
      try {
        await prepareData(state, run.host, length, mode, fileEnd)
        if (at < start) await copyHead(state, at, start, run.host)
        // Nothing may be mapped behind the end of the file.
        if (run.host + length > state.file.size) await state.file.truncate(run.host + length, { exact: false })
        await linkRun(state, at, run)
      } catch (error) {
        await state.release(run.host / clusterSize, run.count)
        throw error
      }
      return at + length
    })
  }
}

/** Copies what the disk shows between `at` and `start` out of the backing file. */
async function copyHead(state: Qcow2State, at: number, start: number, host: number): Promise<void> {
  if (state.backing() === undefined) return
  const head = new Uint8Array(start - at)
  await readBacking(state, at, head, undefined)
  if (!isZero(head)) await state.file.write(host, head)
}

interface PreallocatedRun {
  /** 0: these clusters need nothing. */
  readonly host: number
  readonly count: number
}

/** Takes host clusters for the unallocated entries at `at`, as far as one slice goes; or skips allocated ones. */
async function takeRun(state: Qcow2State, at: number, end: number): Promise<PreallocatedRun> {
  const { geometry, store, allocator } = state
  if (store.l2.crowded) await store.writeMapping()
  await ensureTable(state, l1IndexOf(state, at))
  const place = entryPlace(state, at)
  const { view } = await loadedSlice(state, place.slice)
  const limit = Math.min(place.rest, Math.ceil((end - at) / geometry.clusterSize))
  const wanted = isUnallocated(view, place.at)
  let count = 1
  while (count < limit && isUnallocated(view, place.at + count * entrySize) === wanted) count++
  return { host: wanted ? await allocator.allocate(count) : 0, count }
}

function isUnallocated(view: DataView, at: number): boolean {
  return kindOf(view.getUint32(at), view.getUint32(at + 4)) === Kind.unallocated
}

async function loadedSlice(state: Qcow2State, offset: number): Promise<{ view: DataView }> {
  const { l2 } = state.store
  let slice = l2.peek(offset)
  while (slice === undefined) {
    await l2.load(offset)
    slice = l2.peek(offset)
  }
  return slice
}

/** Makes a host range read as zeroes, and allocates it in the file as `mode` asks. */
async function prepareData(
  state: Qcow2State,
  host: number,
  length: number,
  mode: Preallocation,
  fileEnd: number,
): Promise<void> {
  const { file } = state
  const refusal = state.guardWrite(host, length)
  if (refusal !== undefined) await refusal
  if (mode === 'full') {
    const zeroes = new Uint8Array(Math.min(length, zeroesSize))
    for (let done = 0; done < length; done += zeroes.length) {
      await file.write(host + done, zeroes.subarray(0, Math.min(zeroes.length, length - done)))
    }
  } else if (mode === 'falloc') {
    await file.writeZeroes(host, length)
  } else if (host < fileEnd || !file.zeroInit) {
    await file.writeZeroes(host, Math.min(length, file.zeroInit ? fileEnd - host : length))
  }
}

async function linkRun(state: Qcow2State, at: number, run: PreallocatedRun): Promise<void> {
  const { store, geometry } = state
  await state.prepareLinking()
  const place = entryPlace(state, at)
  const { view } = await loadedSlice(state, place.slice)
  for (let i = 0; i < run.count; i++) {
    const offset = run.host + i * geometry.clusterSize
    view.setUint32(place.at + i * entrySize, (highHalf(offset) | hiCopied) >>> 0)
    view.setUint32(place.at + i * entrySize + 4, lowHalf(offset))
  }
  store.l2.markDirty(store.l2.peek(place.slice)!)
  store.noteData()
}
