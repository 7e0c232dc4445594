/** Block status: of one layer, of a chain, and as merged extents. */
import { alignDown, alignUp } from '../bytes.ts'
import type { BlockStatus } from '../contract/contract.ts'
import type { Edge } from '../graph/edge.ts'
import type { Node } from '../graph/node.ts'

/** A run of a disk with one status, seen from the top of its backing chain. */
export interface Extent {
  readonly offset: number
  readonly length: number
  /** Reading takes stored data. */
  readonly data: boolean
  /** Reads as zeroes. */
  readonly zero: boolean
  /** Some layer of the chain decides the content; else nothing does, and it reads as zeroes. */
  readonly present: boolean
  /** 0 for the top layer, 1 for its backing file, and so on. */
  readonly depth: number
  /** The layer that decides. */
  readonly node: Node
  /** Where the data stands, unencoded, in the file of that layer. */
  readonly hostOffset?: number
  readonly file?: Edge
  readonly compressed: boolean
}

/** Status of `node`'s own layer. */
export async function ownStatus(
  node: Node,
  offset: number,
  length: number,
  signal?: AbortSignal,
): Promise<BlockStatus> {
  return withStorage(await imageStatus(node, offset, length, signal), signal)
}

/** What the image of `node` itself tells, without asking what it refers to. */
async function imageStatus(node: Node, offset: number, length: number, signal?: AbortSignal): Promise<BlockStatus> {
  const { image, limits } = node
  const size = image.size
  if (offset >= size) return { length, data: false, zero: true, allocated: false }
  const limited = Math.min(length, size - offset)
  if (image.blockStatus === undefined) {
    const place = node.driver.kind === 'protocol' ? { offset } : {}
    return { length: limited, data: true, zero: false, allocated: true, ...place }
  }
  const { alignment } = limits
  const start = alignDown(offset, alignment)
  const status = await image.blockStatus(start, alignUp(offset + limited, alignment) - start, signal)
  const skipped = offset - start
  return {
    ...status,
    length: Math.min(status.length - skipped, limited),
    ...(status.offset === undefined ? {} : { offset: status.offset + skipped }),
  }
}

/** What the file below knows: preallocated data may be a hole there, and of a filter or raw range it knows all. */
async function withStorage(own: BlockStatus, signal?: AbortSignal): Promise<BlockStatus> {
  const { file, offset, recurse } = own
  if (recurse === undefined || !own.data || own.zero || file === undefined || offset === undefined) return own
  const below = await file.blockStatus(offset, own.length, signal)
  const length = Math.min(own.length, below.length)
  if (recurse === 'zeroes') return { ...own, length, zero: below.zero }
  // A file stands for itself.
  return { ...below, length, ...(below.offset !== undefined && below.file === undefined ? { file } : {}) }
}

/** Status at `offset` of the chain from `top` down to, and without, `base`. */
export async function chainStatus(
  top: Node,
  base: Node | undefined,
  offset: number,
  length: number,
  signal?: AbortSignal,
): Promise<Extent> {
  let node = top
  let depth = 0
  let limit = Math.min(length, top.size - offset)
  for (;;) {
    const { filtered } = node
    const below = filtered ?? node.backing
    const last = below === undefined || below.node === base || node === base
    const own = await imageStatus(node, offset, limit, signal)
    const through = !last && looksThrough(own, filtered, offset)
    const status = through ? own : await withStorage(own, signal)
    limit = Math.min(limit, status.length)
    if (status.allocated && !through) return decided(node, depth, offset, limit, status)
    if (last) return absent(node, depth, offset, limit, own.recurse === 'all' ? status : undefined)
    if (offset >= below.size) {
      // The layer above reads as zeroes where its backing file has ended.
      return { offset, length: limit, data: false, zero: true, present: true, depth, node, compressed: false }
    }
    limit = Math.min(limit, below.size - offset)
    if (filtered === undefined) depth++
    node = below.node
  }
}

/** Whether a filter says of its own range that its child holds the same bytes at the same place. */
function looksThrough(status: BlockStatus, filtered: Edge | undefined, offset: number): boolean {
  return filtered !== undefined && status.recurse === 'all' && status.file === filtered && status.offset === offset
}

/** Nothing decides: zeroes, unless it is another image, `storage`, that says so. A backing file of it may be read. */
function absent(node: Node, depth: number, offset: number, length: number, storage: BlockStatus | undefined): Extent {
  const { data, zero } = storage ?? { data: false, zero: true }
  return { offset, length, data, zero, present: false, depth, node, compressed: false }
}

function decided(node: Node, depth: number, offset: number, length: number, status: BlockStatus): Extent {
  return {
    offset,
    length,
    data: status.data,
    zero: status.zero,
    present: true,
    depth,
    node,
    ...(status.offset === undefined ? {} : { hostOffset: status.offset, file: status.file as Edge | undefined }),
    compressed: status.compressed === true,
  }
}

/** Merges neighbours of equal status; `next` tells the extent at an offset, undefined at the end. */
export async function* mergedExtents(
  offset: number,
  next: (offset: number) => Promise<Extent | undefined>,
): AsyncGenerator<Extent> {
  let run: Extent | undefined
  for (let at = offset; ; ) {
    const extent = await next(at)
    if (extent === undefined) break
    at += extent.length
    if (run !== undefined && continues(run, extent)) run = { ...run, length: run.length + extent.length }
    else {
      if (run !== undefined) yield run
      run = extent
    }
  }
  if (run !== undefined) yield run
}

function continues(run: Extent, next: Extent): boolean {
  return (
    run.data === next.data &&
    run.zero === next.zero &&
    run.present === next.present &&
    run.node === next.node &&
    run.compressed === next.compressed &&
    run.file === next.file &&
    (run.hostOffset === undefined ? next.hostOffset === undefined : next.hostOffset === run.hostOffset + run.length)
  )
}
