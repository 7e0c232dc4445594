/**
 * A new image in one go, for targets that cannot seek. What of the disk is data is counted first; then it is known where
 * everything stands:
 *
 *     header │ refcount table │ refcount blocks │ L1 table │ L2 table, its data │ L2 table, its data │ …
 */

import { neededClusters } from '@diskgraph/clusters'
import { BlockError, type StreamRequest, throwIfAborted } from '@diskgraph/core/driver'
import { newHeader, type Plan, planTables, refcountBlockOf, refcountTableOf } from './create.ts'
import { serializeHeader } from './header/header.ts'
import { entrySize, hiCopied } from './header/layout.ts'
import { checkCreateOptions, type NewImage } from './new-image.ts'
import { RootTable } from './tables/root-table.ts'

const piece = 2 ** 20

/** The bytes of a new image; undefined for options whose images need seeking. */
export function streamImage(request: StreamRequest): AsyncIterable<Uint8Array> | undefined {
  const { options, compressed } = request
  const image = checkCreateOptions(options)
  const plain = image.encrypt === undefined && image.backingFile === undefined && options.dataFile === undefined
  if (compressed || !plain || image.preallocation !== 'off' || image.geometry.extended) return undefined
  return write(image, request)
}

async function* write(image: NewImage, request: StreamRequest): AsyncGenerator<Uint8Array> {
  const { clusterSize } = image.geometry
  const counts = await countClusters(image, request)
  const more = counts.reduce((sum, count) => sum + (count === 0 ? 0 : count + 1), 0)
  const plan = planTables(image, more)
  const header = new Uint8Array(clusterSize)
  header.set(serializeHeader(newHeader(image, plan, 0, undefined)))
  yield header
  yield refcountTableOf(image.geometry, plan)
  for (let block = 0; block < plan.refcountBlocks; block++) yield refcountBlockOf(image.geometry, plan, block)
  yield l1Of(image, plan, counts)
  let offset = plan.tablesEnd
  for await (const { index, runs } of tables(image, request)) {
    let clusters = 0
    for (const { start, end } of runs) clusters += (end - start) / clusterSize
    if (clusters !== counts[index]) {
      throw new BlockError('EIO', 'the disk has changed while it was written to a target that cannot seek')
    }
    yield l2Of(image, offset + clusterSize, index, runs)
    yield* dataOf(runs, request)
    offset += (1 + clusters) * clusterSize
  }
}

interface Run {
  readonly start: number
  readonly end: number
}

/** The runs of data clusters, by the L2 tables that map them. */
async function* tables(
  { geometry }: NewImage,
  request: StreamRequest,
): AsyncGenerator<{ readonly index: number; readonly runs: readonly Run[] }> {
  const { clusterSize, l2Span } = geometry
  let index = 0
  let runs: Run[] = []
  for await (const { start, end } of neededClusters(request.extents(), clusterSize)) {
    throwIfAborted(request.signal)
    for (let at = start; at < end; ) {
      const table = Math.floor(at / l2Span)
      if (table !== index && runs.length > 0) yield { index, runs }
      if (table !== index) runs = []
      index = table
      const next = Math.min(end, (table + 1) * l2Span)
      runs.push({ start: at, end: next })
      at = next
    }
  }
  if (runs.length > 0) yield { index, runs }
}

/** How many data clusters each L2 table maps. */
async function countClusters(image: NewImage, request: StreamRequest): Promise<Uint32Array> {
  const { clusterSize, l2Span } = image.geometry
  const counts = new Uint32Array(Math.ceil(image.size / l2Span))
  for await (const { index, runs } of tables(image, request)) {
    for (const { start, end } of runs) counts[index]! += (end - start) / clusterSize
  }
  return counts
}

/** The L1 table, in whole clusters. */
function l1Of({ geometry }: NewImage, plan: Plan, counts: Uint32Array): Uint8Array {
  const { clusterSize } = geometry
  const clusters = Math.ceil((plan.l1Entries * entrySize) / clusterSize)
  const table = new RootTable(0, new Uint8Array(clusters * clusterSize))
  let offset = plan.tablesEnd
  counts.forEach((count, index) => {
    if (count === 0) return
    table.set(index, offset, hiCopied)
    offset += (1 + count) * clusterSize
  })
  return table.data
}

/** The L2 table with the number `index`, whose data begins at `offset` of the file. */
function l2Of({ geometry }: NewImage, offset: number, index: number, runs: readonly Run[]): Uint8Array {
  const { clusterSize, l2Span } = geometry
  const table = new RootTable(0, new Uint8Array(clusterSize))
  let host = offset
  for (const { start, end } of runs) {
    for (let at = start; at < end; at += clusterSize, host += clusterSize) {
      table.set((at - index * l2Span) / clusterSize, host, hiCopied)
    }
  }
  return table.data
}

async function* dataOf(runs: readonly Run[], { read, signal }: StreamRequest): AsyncGenerator<Uint8Array> {
  const buf = new Uint8Array(piece)
  for (const { start, end } of runs) {
    for (let at = start; at < end; at += piece) {
      throwIfAborted(signal)
      const part = buf.subarray(0, Math.min(piece, end - at))
      await read(at, part)
      yield part
    }
  }
}
