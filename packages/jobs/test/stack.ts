import { type Clock, type Disk, Graph, type Node } from '@diskgraph/core'
import { MemoryStorage, memoryDriver } from '@diskgraph/driver-memory'
import { nullCo } from '@diskgraph/driver-null'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { raw } from '@diskgraph/driver-raw'
import { Faults, type Random } from '@diskgraph/driver-testkit'

/** A graph over named storages in memory, with faults that can be put between. */
export interface Stack {
  readonly graph: Graph
  readonly storages: Map<string, MemoryStorage>
  readonly faults: Faults
  /** A disk that is the storage itself, with `faults` above it if asked for. */
  plain(name: string, size?: number, faulty?: boolean): Promise<Disk>
  /** A node called `name` that nobody uses: the storage itself, with `faults` above it if asked for. */
  target(name: string, size: number, faulty?: boolean): Promise<Node>
  /** A new qcow2 image, over `faults` if asked for, and its backing file then, too. */
  qcow2(name: string, options: Qcow2Options): Promise<Disk>
}

export interface Qcow2Options {
  readonly size: number
  readonly clusterSize?: number
  /** The storage of a qcow2 image. */
  readonly backing?: string
  readonly faulty?: boolean
}

export function stack(clock?: Clock): Stack {
  const storages = new Map<string, MemoryStorage>()
  const faults = new Faults()
  const drivers = [memoryDriver(storages), nullCo, raw, qcow2, faults.driver]
  const graph = new Graph({ drivers, references: 'allow', ...(clock && { clock }) })
  const over = (name: string, faulty: boolean) => {
    const memory = { driver: 'memory', name }
    return faulty ? { driver: 'testkit-fault', file: memory } : memory
  }
  return {
    graph,
    storages,
    faults,
    plain(name, size, faulty = false) {
      if (size !== undefined) storages.set(name, new MemoryStorage(size))
      return graph.addUnchecked(over(name, faulty))
    },
    target(name, size, faulty = false) {
      storages.set(name, new MemoryStorage(size))
      return graph.addNode({ ...over(name, faulty), nodeName: name })
    },
    async qcow2(name, { size, clusterSize = 65536, backing, faulty = false }) {
      const file = { driver: 'memory', name }
      const below = backing === undefined ? {} : { backingFile: `memory:${backing}`, backingFmt: 'qcow2' }
      await graph.createUnchecked({ driver: 'qcow2', size, clusterSize, file, ...below })
      const open = backing !== undefined && { backing: { driver: 'qcow2', file: over(backing, faulty) } }
      return graph.addUnchecked({ driver: 'qcow2', file: over(name, faulty), ...open })
    },
  }
}

/** All bytes of a disk. */
export async function contentOf(disk: Disk, length: number = disk.size): Promise<Uint8Array> {
  const buf = new Uint8Array(length)
  await disk.read(0, buf)
  return buf
}

/** Writes data, zeroes in data and zeroes at random places. */
export async function scribble(disk: Disk, random: Random, count = 12): Promise<void> {
  for (let i = 0; i < count; i++) {
    const offset = random.below(disk.size)
    const length = Math.min(disk.size - offset, random.between(1, random.pick([600, 5000, 200_000])))
    if (random.chance(0.25)) await disk.writeZeroes(offset, length)
    else await disk.write(offset, random.chance(0.2) ? new Uint8Array(length) : random.bytes(length))
  }
}
