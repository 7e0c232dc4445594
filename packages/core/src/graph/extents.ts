/** Block status of a whole chain, and of a disk as merged extents. */
import type { BlockStatus } from '../contract/contract.ts'
import { type Inspect, inspected, inspection } from '../inspection.ts'
import { withStorage } from '../request/layer.ts'
import type { GraphEdge, Node } from './node.ts'

/** A run of a disk with one status, seen from the top of its backing chain. As JSON it names its node and file. */
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
  readonly file?: GraphEdge
  readonly compressed: boolean
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
    const own = await node.imageStatus(offset, limit, signal)
    const through = !last && looksThrough(own, filtered, offset)
    const status = through ? own : await withStorage(own, signal)
    limit = Math.min(limit, status.length)
    if (status.allocated && !through) return decided(node, depth, offset, limit, status)
    if (last) return absent(node, depth, offset, limit, own.recurse === 'all' ? status : undefined)
    if (offset >= below.size) {
      // The layer above reads as zeroes where its backing file has ended.
      return zeroes(node, depth, offset, limit, true)
    }
    limit = Math.min(limit, below.size - offset)
    if (filtered === undefined) depth++
    node = below.node
  }
}

/** Whether a filter says of its own range that its child holds the same bytes at the same place. */
function looksThrough(status: BlockStatus, filtered: GraphEdge | undefined, offset: number): boolean {
  return filtered !== undefined && status.recurse === 'all' && status.file === filtered && status.offset === offset
}

const shown = {
  toJSON(this: Extent): unknown {
    return { ...this, node: this.node.name, file: this.file?.nodeName }
  },
  [inspection](_depth: number, options: object, inspect: Inspect): string {
    return inspected('Extent', this, options, inspect)
  },
}

function extentOf(fields: Extent): Extent {
  return Object.assign(Object.create(shown) as object, fields)
}

function zeroes(node: Node, depth: number, offset: number, length: number, present: boolean): Extent {
  return extentOf({ offset, length, data: false, zero: true, present, depth, node, compressed: false })
}

/** Nothing decides: zeroes, unless it is another image, `storage`, that says so. A backing file of it may be read. */
function absent(node: Node, depth: number, offset: number, length: number, storage: BlockStatus | undefined): Extent {
  const { data, zero } = storage ?? { data: false, zero: true }
  return extentOf({ offset, length, data, zero, present: false, depth, node, compressed: false })
}

function decided(node: Node, depth: number, offset: number, length: number, status: BlockStatus): Extent {
  return extentOf({
    offset,
    length,
    data: status.data,
    zero: status.zero,
    present: true,
    depth,
    node,
    ...(status.offset === undefined ? {} : { hostOffset: status.offset, file: status.file as GraphEdge | undefined }),
    compressed: status.compressed === true,
  })
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
    if (run !== undefined && continues(run, extent)) run = extentOf({ ...run, length: run.length + extent.length })
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
