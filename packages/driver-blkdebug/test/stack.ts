import { type BlockEvent, type Disk, Graph, type Node } from '@diskgraph/core'
import { type BlkdebugOptions, blkdebug } from '@diskgraph/driver-blkdebug'
import { MemoryStorage, memoryDriver } from '@diskgraph/driver-memory'
import { raw } from '@diskgraph/driver-raw'

/** A disk of 64 KiB with blkdebug in it. */
export interface Stack {
  readonly graph: Graph
  readonly disk: Disk
  readonly storage: MemoryStorage
  /** The blkdebug node. */
  readonly node: Node
  readonly events: BlockEvent[]
}

/** `raw` over `blkdebug` over memory, or `blkdebug` alone. */
export async function open(options: Omit<BlkdebugOptions, 'image'> = {}, { raw: top = true, size = 65536 } = {}) {
  const storage = new MemoryStorage(size)
  storage.write(
    0,
    Uint8Array.from({ length: size }, (_, i) => (i % 251) + 1),
  )
  const graph = new Graph({ drivers: [blkdebug, raw, memoryDriver(new Map([['image', storage]]))] })
  const events: BlockEvent[] = []
  graph.onEvent((event) => events.push(event))
  const filter = {
    driver: 'blkdebug',
    nodeName: 'debug',
    image: { driver: 'memory', name: 'image' },
    ...options,
  } as const
  const disk = await graph.add(
    top ? { driver: 'raw', discard: 'unmap', file: filter } : { discard: 'unmap', ...filter },
  )
  return { graph, disk, storage, node: graph.find('debug') as Node, events } satisfies Stack
}

/** The code that `promise` fails with; undefined when it succeeds. */
export async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  try {
    await promise
    return undefined
  } catch (error) {
    return (error as { code: string }).code
  }
}

/** Calls an operation of the blkdebug node. */
export function control(node: Node, operation: string, ...args: string[]): unknown {
  return node.image.control?.[operation]?.(...args)
}
