/**
 * Reading many tables of one size in a given order: the next batch is on its way while one is looked at, tables that
 * stand next to each other in the file are read together, and nothing but two batches is in memory.
 */

import { forEachLimited, Yielder } from '@diskgraph/clusters'
import { type ChildHandle, throwIfAborted } from '@diskgraph/core/driver'
import { viewOf } from '../bytes.ts'

const batchBytes = 1024 * 1024
const readsAtOnce = 16
/** What is looked at in one unit of work. */
const unitSize = 64

/** Which tables to read. */
interface TableList {
  readonly file: ChildHandle
  /** Where the tables are. */
  readonly offsets: ArrayLike<number>
  /** Bytes of each. */
  readonly tableSize: number
  readonly signal?: AbortSignal | undefined
}

/**
 * Looks at one table: `view` holds it from byte `at` on. The bytes may be changed; they are valid until the promise
 * that it may return has settled.
 */
type TableVisitor = (index: number, view: DataView, at: number) => Promise<void> | undefined

interface Batch {
  readonly first: number
  readonly count: number
  readonly view: DataView
  readonly loaded: Promise<void>
}

/** Calls `visit` for every table of the list, in order. Bytes past the end of the file are zeroes. */
export async function forEachTable(list: TableList, visit: TableVisitor): Promise<void> {
  const { offsets, tableSize, signal } = list
  if (offsets.length === 0) return
  const perBatch = Math.max(1, Math.floor(batchBytes / tableSize))
  const size = Math.min(perBatch, offsets.length) * tableSize
  const buffers = [new Uint8Array(size), new Uint8Array(offsets.length > perBatch ? size : 0)]
  const yielder = new Yielder(signal)
  let next: Batch | undefined = startBatch(list, 0, perBatch, buffers[0]!)
  for (let turn = 1; next !== undefined; turn++) {
    const batch: Batch = next
    await batch.loaded
    throwIfAborted(signal)
    const first = batch.first + batch.count
    next = first < offsets.length ? startBatch(list, first, perBatch, buffers[turn % 2]!) : undefined
    try {
      for (let i = 0; i < batch.count; i++) {
        const held = visit(batch.first + i, batch.view, i * tableSize)
        if (held !== undefined) await held
        const turn = yielder.step(tableSize / unitSize)
        if (turn !== undefined) await turn
      }
    } catch (error) {
      await next?.loaded.catch(() => undefined)
      throw error
    }
  }
}

function startBatch(list: TableList, first: number, perBatch: number, buf: Uint8Array): Batch {
  const count = Math.min(perBatch, list.offsets.length - first)
  const loaded = loadBatch(list, first, count, buf)
  // A failure is reported when the batch is waited for.
  loaded.catch(() => undefined)
  return { first, count, view: viewOf(buf), loaded }
}

async function loadBatch(list: TableList, first: number, count: number, buf: Uint8Array): Promise<void> {
  const { file, offsets, tableSize } = list
  const runs: { readonly offset: number; readonly from: number; readonly to: number }[] = []
  for (let i = 0; i < count; ) {
    const offset = offsets[first + i]!
    let end = i + 1
    while (end < count && offsets[first + end] === offset + (end - i) * tableSize) end++
    runs.push({ offset, from: i * tableSize, to: end * tableSize })
    i = end
  }
  await forEachLimited(runs, readsAtOnce, ({ offset, from, to }) => file.read(offset, buf.subarray(from, to)))
}
