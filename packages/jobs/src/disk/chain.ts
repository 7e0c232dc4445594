/** The nodes of a backing chain, and of one image in it. */
import { BlockError, type BlockGraph, type Change, type Disk, type Node } from '@diskgraph/core'

/** The node below filters, whose backing file and references are the image's own. */
export function unfiltered(node: Node): Node {
  return node.filtered === undefined ? node : unfiltered(node.filtered.node)
}

/** A node and those below it that hold its own data, from the top down; backing files do not belong to them. */
export function storageNodes(node: Node): Node[] {
  const below = [...node.children.values()].filter((edge) => edge.role !== 'cow')
  return [node, ...below.flatMap((edge) => storageNodes(edge.node))]
}

/** What changes the mode of a node: a graph, at once, or a change of one that is under way. */
interface Reopener {
  reopen(node: Node, changes: Readonly<Record<string, unknown>>): Promise<void>
  commit?(): Promise<void>
}

/**
 * Makes an image that was opened for reading writable, or the other way round. What is below a node that is to write
 * must write first, so the order depends on the direction. In a change each step is committed. EPERM, and nothing has
 * changed, where storage that is to write was told itself to be read-only.
 */
export async function setReadOnly(graph: Reopener, node: Node, readOnly: boolean): Promise<void> {
  const nodes = storageNodes(node)
  if (!readOnly && nodes.slice(1).some(({ ownReadOnly }) => ownReadOnly)) {
    throw new BlockError('EPERM', 'Block node is read-only', { node: node.name })
  }
  for (const one of readOnly ? nodes : nodes.reverse()) {
    await graph.reopen(one, { readOnly })
    await graph.commit?.()
  }
}

/** Runs `work` while `node`, when it was opened for reading, is writable. */
export async function whileWritable(graph: BlockGraph, node: Node, work: () => Promise<void>): Promise<void> {
  if (!node.readOnly) return work()
  try {
    await setReadOnly(graph, node, false)
    await work()
  } finally {
    await endWriting(graph, node)
  }
}

/** Makes `node` read-only again. A flush that fails is reported, and tried once more: else the node stays writable. */
export async function endWriting(graph: Reopener, node: Node): Promise<void> {
  try {
    await setReadOnly(graph, node, true)
  } catch (error) {
    await setReadOnly(graph, node, true).catch(() => undefined)
    throw error
  }
}

/** Runs `work` in `change`, which is under way, or in a change of its own. */
export function inChange<T>(
  graph: BlockGraph,
  change: Change | undefined,
  work: (change: Change) => Promise<T>,
): Promise<T> {
  return change === undefined ? graph.change(work) : work(change)
}

/** EINVAL when the two write to one place: what the target forgets first would be gone from the source. */
export function refuseSameStorage(work: 'copy' | 'rescue', source: Disk, target: Disk): void {
  const own = storageNodes(target.node)
  const places = new Set(own.flatMap(({ image }) => image.identity ?? []))
  const common = storageNodes(source.node).find(
    (node) => own.includes(node) || (node.image.identity !== undefined && places.has(node.image.identity)),
  )
  if (common === undefined) return
  const message = `cannot ${work} '${source.filename}' to '${target.filename}': both are in '${common.filename}'`
  throw new BlockError('EINVAL', message, { hint: `${work} to another disk, and move that over it` })
}
