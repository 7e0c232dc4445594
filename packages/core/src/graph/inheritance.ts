/** What a node takes from the parent that it was opened with, also when that is reopened: the cache mode, where nothing was said of its own. */
import { isRecord } from '../options/validate.ts'
import type { Node } from './node.ts'

type Options = Readonly<Record<string, unknown>>

/** Records what `given` says of the mode of `node` itself, which it keeps whatever its parent becomes. */
export function ownMode(node: Node, given: Options): void {
  for (const [name] of cacheOf(given)) node.ownCache.add(name)
  if (given.readOnly === true && given.autoReadOnly !== true) node.ownReadOnly = true
}

/** `node` with its changes, and the nodes below that follow it, with what changes there. What is said of `node` is its own now. */
export function withHeirs(node: Node, changes: Options): ReadonlyMap<Node, Options> {
  const all = new Map<Node, Options>()
  addHeirs(all, node, changes)
  for (const [name] of cacheOf(changes)) node.ownCache.add(name)
  if (isRecord(changes) && changes.readOnly === false) node.ownReadOnly = false
  return all
}

function addHeirs(all: Map<Node, Options>, node: Node, changes: Options): void {
  all.set(node, changes)
  const cache = cacheOf(changes)
  for (const { node: child } of node.children.values()) {
    if (child.inheritsFrom !== node) continue
    const inherited = cache.filter(([name]) => !child.ownCache.has(name))
    if (inherited.length > 0) addHeirs(all, child, { cache: Object.fromEntries(inherited) })
  }
}

/** What is said of the cache mode; whether that is valid is not judged here. */
function cacheOf(options: unknown): [string, unknown][] {
  return isRecord(options) && isRecord(options.cache) ? Object.entries(options.cache) : []
}
