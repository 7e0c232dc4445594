/**
 * What happens to the graph of a simulation while guests use its disk: every operation that changes it, by several
 * actors at once. Each either happens as a whole or fails with an error that may be expected; what it does to the
 * content goes into the history.
 */
import { type Change, type Disk, type Graph, type Node, Root } from '@diskgraph/core'
import { BlockError, delay, Permission } from '@diskgraph/core/driver'
import type { Random } from '../random.ts'
import type { Guests } from './guests.ts'
import { SimulatedImage } from './leaf.ts'

/** The names of the operations. */
export const controlNames = [
  'truncate',
  'reopen',
  'reader',
  'conflict',
  'insert',
  'remove',
  'snapshot',
  'mirror',
  'internal',
  'check',
  'amend',
  'child',
  'block',
  'drained',
  'rollback',
] as const

/** One of {@link controlNames}. */
type ControlName = (typeof controlNames)[number]

/** Largest disk, in bytes. */
export const largest = 131_072

/** See the top of the file. */
export class Controls {
  readonly #graph: Graph
  readonly #disk: Disk
  readonly #guests: Guests
  readonly #random: Random
  readonly #available: ReadonlySet<string>
  #names = 0

  constructor(graph: Graph, disk: Disk, guests: Guests, random: Random, available: ReadonlySet<string>) {
    this.#graph = graph
    this.#disk = disk
    this.#guests = guests
    this.#random = random
    this.#available = available
  }

  /** Runs one operation; what it throws is for the caller to judge. */
  run(name: ControlName, signal: AbortSignal | undefined): Promise<unknown> {
    return this.#guests.watched(`${name} ${++this.#names}`, this[name](signal))
  }

  async truncate(signal?: AbortSignal): Promise<void> {
    const size = 4096 * this.#random.between(8, largest / 4096)
    await this.#guests.zeroing(size, largest, () => this.#disk.truncate(size, { zero: true }, signal))
  }

  async reopen(signal?: AbortSignal): Promise<void> {
    const changes = () =>
      this.#random.pick<Record<string, unknown>>([
        { detectZeroes: 'on' },
        { detectZeroes: 'off' },
        { cache: { noFlush: true } },
        { cache: { noFlush: false } },
        { discard: 'unmap' },
        { discard: 'ignore', detectZeroes: 'unmap' },
      ])
    await this.#graph.change(
      async (change) => {
        const { node } = this.#disk
        await change.reopen(node, changes())
        const below = node.storage?.node
        if (below !== undefined && this.#random.chance(0.5)) await change.reopen(below, changes())
      },
      { signal },
    )
  }

  /** A second user reads what the guests read. */
  async reader(signal?: AbortSignal): Promise<void> {
    const root = await this.#graph.change((change) => attach(change, this.#disk.node, Permission.ConsistentRead), {
      signal,
    })
    try {
      for (let i = 0; i < 3; i++) await root.read(0, new Uint8Array(Math.min(4096, root.size)))
    } finally {
      await this.#graph.detachRoot(root)
    }
  }

  /** A user who lets nobody write is refused, for the guests do. */
  async conflict(signal?: AbortSignal): Promise<void> {
    const { ConsistentRead } = Permission
    const attached = this.#graph.change((change) => attach(change, this.#disk.node, ConsistentRead, ConsistentRead), {
      signal,
    })
    const root = await attached
    if (!this.#disk.closed) throw new Error('a user who lets nobody write was attached beside a writer')
    await this.#graph.detachRoot(root)
  }

  async insert(): Promise<void> {
    if ([...this.#graph.nodes].filter(({ driver }) => driver.name === 'pass').length > 4) return this.remove()
    await this.#graph.insertFilterUnchecked(this.#disk.node, { driver: 'pass' })
  }

  async remove(): Promise<void> {
    const filters = [...this.#graph.nodes].filter(({ driver }) => driver.name === 'pass')
    if (filters.length > 0) await this.#graph.removeFilter(this.#random.pick(filters))
  }

  /** A live snapshot: an overlay takes the place of the node, which becomes its backing file. */
  async snapshot(signal?: AbortSignal): Promise<void> {
    if (!this.#available.has('qcow2') || this.#depth() > 4) return
    const file = { driver: 'simulated', name: this.#newName() }
    await this.#graph.createUnchecked({ driver: 'qcow2', size: this.#disk.size, clusterSize: 4096, file: { ...file } })
    await this.#graph.change(
      async (change) => {
        const overlay = await change.openUnchecked({ driver: 'qcow2', backing: null, file })
        const { node } = this.#disk
        await change.drain(node)
        if (overlay.size !== node.size) throw new BlockError('EINVAL', 'the disk has another size now')
        await change.setBacking(overlay, node)
        await change.replace(node, overlay)
      },
      { signal },
    )
  }

  /** The end of a mirror: the rest is copied while nothing is in flight, and all users go over to the copy. */
  async mirror(signal?: AbortSignal): Promise<void> {
    const file = { driver: 'simulated', name: this.#newName() }
    await this.#graph.createUnchecked({ ...file, size: this.#disk.size })
    // The one that is left stays open sometimes, as after a mirror that a management program runs.
    const { node: left } = this.#disk
    left.explicit ||= this.#random.chance(0.3)
    await this.#graph.change(
      async (change) => {
        const { node } = this.#disk
        const target = await change.openUnchecked(this.#available.has('raw') ? { driver: 'raw', file } : file)
        const reader = await attach(change, node, Permission.ConsistentRead)
        const writer = await attach(change, target, Permission.Write)
        await change.drain(node)
        change.admit(reader)
        change.admit(writer)
        await change.commit()
        if (target.size !== node.size) throw new BlockError('EINVAL', 'the disk has another size now')
        try {
          await copy(reader, writer)
        } finally {
          await change.detach(reader)
          await change.detach(writer)
        }
        await change.replace(node, target)
      },
      { signal },
    )
  }

  /** Internal snapshots come and go. */
  async internal(): Promise<void> {
    const { snapshots } = this.#disk
    const [first] = snapshots.list()
    if (first !== undefined && this.#random.chance(0.6)) await snapshots.delete(first.id)
    else await snapshots.create({ name: this.#newName() })
  }

  async check(signal?: AbortSignal): Promise<void> {
    const result = await this.#disk.check({ repair: 'none', ...(signal === undefined ? {} : { signal }) })
    if (result.corruptions > 0) throw new Error(`a check finds ${result.corruptions} corruptions`)
  }

  async amend(signal?: AbortSignal): Promise<void> {
    const options = { lazyRefcounts: this.#random.chance(0.5) }
    await this.#disk.amend({ options, ...(signal === undefined ? {} : { signal }) })
  }

  /** A replica comes or goes. */
  async child(): Promise<void> {
    const quorum = [...this.#graph.nodes].find(({ driver }) => driver.name === 'quorum')
    if (quorum === undefined) return
    if (quorum.children.size > 2) {
      await this.#graph.setChild(quorum, this.#random.pick([...quorum.children.keys()]), undefined)
    }
  }

  /** Somebody blocks resizing for a while. */
  async block(): Promise<void> {
    const release = this.#graph.block(this.#disk.node, { reason: 'the simulation says so', operations: ['resize'] })
    await this.#graph.clock.turn()
    release()
  }

  /** Nothing reaches any storage below a node that is held, whatever node of the graph that is. */
  async drained(signal?: AbortSignal): Promise<void> {
    const node = this.#random.pick([...this.#graph.nodes])
    await this.#graph.change(
      async (change) => {
        await change.drain(node)
        for (let i = 0; i < 5; i++) {
          if (node.image instanceof SimulatedImage && node.image.calls > 0) {
            throw new Error(`a request is in flight below '${node.name}', which is held`)
          }
          await delay(this.#graph.clock, 3)
        }
      },
      { signal },
    )
  }

  /** A change of several steps that fails in the end leaves everything as it was. */
  async rollback(): Promise<void> {
    const graph = this.#graph
    const failure = new BlockError('ECANCELED', 'the change is called off')
    let before = ''
    const failing = graph.change(async (change) => {
      before = shapeOf(graph)
      const { node } = this.#disk
      const filter = await change.insertUnchecked(node, { driver: 'pass' })
      if (this.#random.chance(0.5)) await change.detach(this.#disk)
      if (this.#random.chance(0.5)) await change.remove(filter)
      if (this.#random.chance(0.5)) await change.reopen(node, { detectZeroes: 'on' })
      throw failure
    })
    // The next in the line sees what the failure has left.
    const looking = graph.change(async () => {
      const after = shapeOf(graph)
      if (after !== before) throw new Error(`a change that failed has left its marks:\n${before}\n${after}`)
    })
    const [failed, looked] = await Promise.allSettled([failing, looking])
    if (looked.status === 'rejected') throw looked.reason
    if (failed.status === 'rejected' && failed.reason !== failure) throw failed.reason
  }

  #newName(): string {
    return `s${++this.#names}`
  }

  #depth(): number {
    let depth = 0
    for (let { node } = this.#disk; ; depth++) {
      const below = node.backing ?? node.filtered
      if (below === undefined) return depth
      node = below.node
    }
  }
}

async function attach(change: Change, node: Node, permissions: number, shared: number = Permission.All): Promise<Root> {
  const settings = { description: `a user of '${node.name}'`, permissions: { permissions, shared } }
  const root = new Root(node, settings)
  await change.attach(root, settings.permissions)
  return root
}

async function copy(from: Root, to: Root): Promise<void> {
  const step = 16_384
  for (let at = 0; at < from.size; at += step) {
    const buf = new Uint8Array(Math.min(step, from.size - at))
    await from.read(at, buf)
    await to.write(at, buf)
  }
}

/** Who uses what, and how, as a text. */
function shapeOf(graph: Graph): string {
  const lines: string[] = []
  for (const node of graph.nodes) {
    // What is being opened belongs to nobody yet, and comes and goes outside of changes.
    if (node.pins > 0 || node.parents.size === 0) continue
    const parents = [...node.parents].map(
      (edge) => `${edge.parentName}.${edge.name}:${edge.permissions}/${edge.shared}`,
    )
    const children = [...node.children.values()].map((edge) => `${edge.name}=${edge.node.name}`)
    lines.push(`${node.name}${node.readOnly ? ' ro' : ''} ${node.detectZeroes} <- ${parents.sort()} -> ${children}`)
  }
  return lines.sort().join('\n')
}
