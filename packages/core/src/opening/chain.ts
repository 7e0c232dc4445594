/** Backing chains while they are opened: how deep they may be, and loops, found by the identity of the storage. */
import { BlockError } from '../errors.ts'
import type { Node } from '../graph/node.ts'

/** Runs `open`, which opens what is below `node`, with the identity of the node's storage on record in `chain`. */
export async function inChain<T>(node: Node, chain: Map<string, string>, open: () => Promise<T>): Promise<T> {
  const identity = identityOf(node)
  if (identity === undefined || chain.has(identity)) return open()
  chain.set(identity, node.filename)
  try {
    return await open()
  } finally {
    chain.delete(identity)
  }
}

/** Throws ELOOP when the storage of `node` is on record already. */
export function checkLoop(node: Node, chain: ReadonlyMap<string, string>): void {
  const { identity } = node.image
  if (identity === undefined || !chain.has(identity)) return
  const names = [...chain.values()]
  const start = names.indexOf(chain.get(identity) as string)
  throw new BlockError('ELOOP', `Backing chain loops: ${[...names.slice(start), names[start]].join(' → ')}`, {
    hint: 'give one of these images another backing file (rebase -u)',
  })
}

/** The error of a chain with more images than are allowed. */
export function tooDeep(maxDepth: number, chain: ReadonlyMap<string, string>): BlockError {
  const top = chain.values().next().value
  return new BlockError('ELOOP', `the backing chain of '${top}' is deeper than ${maxDepth} images`, {
    hint: 'pass a larger maxDepth to new Graph(…), or commit some of them',
  })
}

/** The string that tells the storage below a node from others. */
export function identityOf(node: Node): string | undefined {
  if (node.image.identity !== undefined) return node.image.identity
  const storage = node.children.get('file')
  return storage === undefined ? undefined : identityOf(storage.node)
}
