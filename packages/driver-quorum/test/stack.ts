import { type BlockEvent, type Disk, Graph } from '@diskgraph/core'
import { blkdebug, type InjectErrorOptions } from '@diskgraph/driver-blkdebug'
import { MemoryStorage, memoryDriver } from '@diskgraph/driver-memory'
import { type QuorumOptions, quorum } from '@diskgraph/driver-quorum'

/** A quorum named `q` over memory; child `i` is called `child<i>` and its storage `<i>`. */
export interface Stack {
  readonly graph: Graph
  readonly disk: Disk
  readonly storages: readonly MemoryStorage[]
  readonly events: BlockEvent[]
}

/** What a child is: its first bytes, and the errors it has. */
export interface Leg {
  readonly content?: Uint8Array
  readonly size?: number
  readonly errors?: InjectErrorOptions[]
}

/** A graph with one storage per leg, and spare ones after them. */
export function setUp(legs: readonly Leg[]): { graph: Graph; storages: MemoryStorage[]; events: BlockEvent[] } {
  const storages = legs.map(({ content, size = 65536 }) => {
    const storage = new MemoryStorage(size)
    if (content !== undefined) storage.write(0, content)
    return storage
  })
  const files = new Map(storages.map((storage, i) => [`${i}`, storage]))
  const graph = new Graph({ drivers: [quorum, blkdebug, memoryDriver(files)] })
  const events: BlockEvent[] = []
  graph.onEvent((event) => events.push(event))
  return { graph, storages, events }
}

/** The definition of a leg as a child. */
export function child(leg: Leg, index: number) {
  const memory = { driver: 'memory', name: `${index}` } as const
  const nodeName = `child${index}`
  return leg.errors === undefined
    ? ({ ...memory, nodeName } as const)
    : ({ driver: 'blkdebug', nodeName, image: memory, injectError: leg.errors } as const)
}

/** Opens a quorum over `legs`. */
export async function open(
  options: Omit<QuorumOptions, 'children'>,
  legs: readonly Leg[],
  base: object = {},
): Promise<Stack> {
  const { graph, storages, events } = setUp(legs)
  const disk = await graph.add({ driver: 'quorum', nodeName: 'q', ...options, ...base, children: legs.map(child) })
  return { graph, disk, storages, events }
}

/** `length` bytes of `value`. */
export function filled(value: number, length = 4096): Uint8Array {
  return new Uint8Array(length).fill(value)
}

/** The first byte that a read of `length` bytes at `offset` gives. */
export async function firstByte(disk: Disk, offset = 0, length = 512): Promise<number | undefined> {
  const buf = new Uint8Array(length)
  await disk.read(offset, buf)
  return buf[0]
}
