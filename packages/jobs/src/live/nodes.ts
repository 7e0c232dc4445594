/** The nodes that a job works on: finding them, keeping others off, and the filter between a disk and its users. */
import { BlockError, type Change, Disk, type Graph, type Node, Permission } from '@diskgraph/core'
import type { DriverDescriptor } from '@diskgraph/core/driver'

/** The node called `name`, or `name` itself. QEMU's text where there is none. */
export function findNode(graph: Graph, name: Node | string): Node {
  if (typeof name !== 'string') return name
  const node = graph.find(name)
  if (node === undefined) {
    throw new BlockError('ENOENT', `Cannot find device='${name}' nor node-name='${name}'`)
  }
  return node
}

/** Throws EBUSY when a job or somebody else has taken `node`. */
export function refuseBusy(node: Node): void {
  const [blocker] = node.blockers
  if (blocker !== undefined) {
    throw new BlockError('EBUSY', `Node '${node.name}' is busy: ${blocker.reason}`, { node: node.name })
  }
}

/** Blocks on `nodes` what a job of `type` cannot stand; the result ends that. */
function blockNodes(graph: Graph, nodes: readonly Node[], type: string): () => void {
  const reason = `block device is in use by block job: ${type}`
  const operations = ['amend', 'change-child', 'check', 'remove', 'reopen', 'replace', 'resize', 'snapshot'] as const
  const releases = nodes.map((node) => graph.block(node, { reason, operations }))
  return () => {
    for (const release of releases) release()
  }
}

/** Attaches a user of `node` that stands for the job `id`. */
async function attachJob(change: Change, graph: Graph, node: Node, id: string): Promise<Disk> {
  const permissions = { permissions: Permission.ConsistentRead, shared: Permission.All }
  const root = new Disk(graph, node, { description: `block job '${id}'`, permissions })
  await change.attach(root, permissions)
  return root
}

/** A filter of a job over a disk, and the job as its user. */
export class Insertion {
  readonly graph: Graph
  readonly filter: Node
  readonly root: Disk
  readonly #release: () => void
  #left = false

  constructor(graph: Graph, filter: Node, root: Disk, release: () => void) {
    this.graph = graph
    this.filter = filter
    this.root = root
    this.#release = release
  }

  /** Takes the filter out, or lets the users of `from` (default: the disk) go over to `to`, in one change. */
  async leave(
    before?: () => Promise<void>,
    to?: { readonly from: Node | undefined; readonly node: Node },
  ): Promise<void> {
    if (this.#left) return
    await this.graph.change(async (change) => {
      await change.drain(this.filter)
      change.admit(this.root)
      await before?.()
      this.#release()
      await change.detach(this.root)
      if (to === undefined) await change.remove(this.filter)
      else if (to.from === undefined) await change.replace(this.filter, to.node)
      else {
        await change.remove(this.filter)
        await change.replace(to.from, to.node)
      }
    })
    this.#left = true
  }
}

/** Puts `driver` over `source`, with `target` below it, too. `during` runs in the same change. */
export async function insertFilter(
  graph: Graph,
  nodes: { readonly source: Node; readonly target: Node },
  filter: { readonly driver: DriverDescriptor; readonly nodeName: string | undefined },
  job: { readonly id: string; readonly type: string },
  during?: () => void,
): Promise<Insertion> {
  return graph.change(async (change) => {
    const { source, target } = nodes
    const { driver, nodeName } = filter
    const node = await change.insertUnchecked(source, {
      driver,
      target,
      ...(nodeName === undefined ? {} : { nodeName }),
    })
    const root = await attachJob(change, graph, node, job.id)
    await change.commit()
    const release = blockNodes(graph, [source, target, node], job.type)
    during?.()
    return new Insertion(graph, node, root, release)
  })
}
