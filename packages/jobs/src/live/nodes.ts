/** The nodes that a job works on: finding them, keeping others off, and the filter between a disk and its users. */
import {
  BlockError,
  type BlockedOperation,
  type Change,
  Disk,
  type Graph,
  type Node,
  Permission,
} from '@diskgraph/core'
import type { DriverDescriptor } from '@diskgraph/core/driver'
import { referredFilename, shownFilename } from '@diskgraph/core/internal'
import { unfiltered } from '../disk/chain.ts'
import type { Job } from '../job/job.ts'

/** The node called `name`, or `name` itself. QEMU's text where there is none. */
export function findNode(graph: Graph, name: Node | string): Node {
  if (typeof name !== 'string') return name
  const node = graph.find(name)
  if (node === undefined) {
    throw new BlockError('ENOENT', `Cannot find device='${name}' nor node-name='${name}'`)
  }
  return node
}

/** The node called `name`, for options that stand for nodes only. */
export function findNodeByName(graph: Graph, name: Node | string): Node {
  if (typeof name !== 'string') return name
  const node = graph.find(name)
  if (node === undefined) throw new BlockError('ENOENT', `Cannot find device='' nor node-name='${name}'`)
  return node
}

/** The nodes of the chain from `top` down, filters left out. */
export function chainOf(top: Node): Node[] {
  const node = unfiltered(top)
  const below = node.backing?.node
  return below === undefined ? [node] : [node, ...chainOf(below)]
}

/** The node of `layers`, but the first, that `filename` names: as it is shown, or as the layer above would refer to it. */
export async function findLayerBelow(layers: readonly Node[], filename: string): Promise<Node | undefined> {
  for (const [index, node] of layers.slice(1).entries()) {
    if (await isShownAs(node, filename)) return node
    if (referredFilename(layers[index] as Node, filename) === node.filename) return node
  }
  return undefined
}

/** Whether `filename` is the name by which `node` is shown. */
export async function isShownAs(node: Node, filename: string): Promise<boolean> {
  return node.filename === filename || (await shownFilename(node)) === filename
}

/** As {@link chainOf}, filters included. */
export function wholeChainOf(top: Node): Node[] {
  const below = (top.filtered ?? top.backing)?.node
  return below === undefined ? [top] : [top, ...wholeChainOf(below)]
}

/** The highest node of the chain of `top` that shows the layer of `base`: what is not above it is the base's own. */
export function highestOver(base: Node, top: Node): Node {
  const layer = unfiltered(base)
  return wholeChainOf(top).find((node) => unfiltered(node) === layer) ?? base
}

/** Throws EBUSY when a job or somebody else has taken `node`. */
export function refuseBusy(node: Node): void {
  const [blocker] = node.blockers
  if (blocker === undefined) return
  const users = [...node.parents].map(({ parent }) => (parent.isRoot ? parent.deviceName : undefined))
  const name = users.find((one) => one !== undefined) ?? node.name
  throw new BlockError('EBUSY', `Node '${name}' is busy: ${blocker.reason}`, { node: node.name })
}

/** {@link refuseBusy} for `top`, `bottom` and all between. A filter without a name is busy because of what it stands over. */
export function refuseBusyChain(top: Node, bottom: Node): void {
  const chain = wholeChainOf(top)
  for (const node of chain.slice(0, chain.indexOf(bottom) + 1)) if (!node.hidden) refuseBusy(node)
}

/** What changes the content of a node, or takes it away. */
export const contentOperations = ['amend', 'check', 'remove', 'replace', 'resize', 'snapshot'] as const

/** Blocks on `nodes` what `job` cannot stand, unless `change` is undone; the result ends that. */
export function blockNodes(
  change: Change,
  graph: Graph,
  nodes: readonly Node[],
  job: Job,
  operations: readonly BlockedOperation[] = [...contentOperations, 'change-child'],
): () => void {
  const reason = `block device is in use by block job: ${job.type}`
  for (const node of nodes) job.nodes.add(node)
  const releases = nodes.map((node) => graph.block(node, { reason, operations }))
  const release = (): void => {
    for (const one of releases) one()
  }
  change.onUndo(release)
  return release
}

/** What a job does with a node beside reading it, and what others may do; {@link jobRoot}. */
interface JobUse {
  /** For messages: `main node`. */
  readonly name: string
  /** Default: it reads. */
  readonly permissions?: number
  /** Default: everything. */
  readonly shared?: number
}

/** Attaches `job` as a user of `node`. */
export async function jobRoot(
  change: Change,
  graph: Graph,
  node: Node,
  job: { readonly id: string; readonly type: string },
  use: JobUse,
): Promise<Disk> {
  const { ConsistentRead, All, BackingChange } = Permission
  const permissions = { permissions: use.permissions ?? ConsistentRead, shared: use.shared ?? All | BackingChange }
  const description = `${job.type} job '${job.id}'`
  const root = new Disk(graph, node, { description, permissions, edgeName: use.name })
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

  /**
   * Ends it in one change: `before` runs while nobody writes but the job, `step` instead of taking the filter out. When
   * one of them fails everything is as it was. The second time it does nothing.
   */
  async leave(before?: (change: Change) => Promise<void>, step?: (change: Change) => Promise<void>): Promise<void> {
    await this.graph.change(async (change) => {
      if (this.#left) return
      await change.drain(this.filter)
      change.admit(this.root)
      await before?.(change)
      this.#release()
      await change.detach(this.root)
      await (step === undefined ? change.remove(this.filter) : step(change))
      await change.commit()
      this.#left = true
    })
  }
}

/**
 * Puts `driver` over `source`, with `target` below it, too, if there is one: stages it in `change`. `layers` are others
 * that the job needs as they are.
 */
export async function insertFilter(
  change: Change,
  graph: Graph,
  nodes: { readonly source: Node; readonly target?: Node | undefined; readonly layers?: readonly Node[] },
  filter: { readonly driver: DriverDescriptor; readonly nodeName: string | undefined; readonly hidden?: boolean },
  job: Job,
): Promise<Insertion> {
  const { source, target, layers = [] } = nodes
  const { driver, nodeName, hidden = false } = filter
  const node = await change.insertUnchecked(source, {
    driver,
    ...(target === undefined ? {} : { target }),
    ...(nodeName === undefined ? {} : { nodeName }),
  })
  node.temporary = true
  node.hidden = hidden
  const root = await jobRoot(change, graph, node, job, { name: 'main node' })
  const used = target === undefined ? [source, node] : [source, target, node]
  const release = blockNodes(change, graph, [...used, ...layers], job)
  return new Insertion(graph, node, root, release)
}
