/** From the whole definition that `blockdev-reopen` takes to what changes of a node. */
import { BlockError, type Node } from '@diskgraph/core'
import type { OptionSchema } from '@diskgraph/core/driver'
import { toKebabCase } from '@diskgraph/core/internal'

/** What changes of a node: options, and children by name (undefined: removed). */
export interface ReopenChanges {
  readonly node: Node
  readonly options: Readonly<Record<string, unknown>>
  readonly children: ReadonlyMap<string, string | undefined>
}

/** What is collected of one node. */
interface Collected {
  readonly children: Map<string, string | undefined>
  /** Children whose options stand within those of the node. */
  readonly within: ReopenChanges[]
}

const baseDefaults: Readonly<Record<string, unknown>> = {
  readOnly: false,
  autoReadOnly: false,
  discard: 'ignore',
  detectZeroes: 'off',
  cache: { direct: false, noFlush: false },
}

/**
 * What is to change so that `node` is what `given`, a whole definition, says: what is left out has its default. Children
 * that are given by their options, as they were when the node was opened, have changes of their own.
 */
export function reopenChanges(node: Node, given: Readonly<Record<string, unknown>>): ReopenChanges[] {
  return changesOf(node, given, baseDefaults)
}

function changesOf(
  node: Node,
  given: Readonly<Record<string, unknown>>,
  defaults: typeof baseDefaults,
): ReopenChanges[] {
  if (given.driver !== node.driver.name) throw cannotChange('driver')
  const options: Record<string, unknown> = { ...defaults }
  const collected: Collected = { children: new Map(), within: [] }
  for (const [name, value] of Object.entries(given)) {
    if (name === 'driver' || name === 'nodeName') continue
    if (name in baseDefaults) {
      options[name] = name === 'cache' ? { ...(baseDefaults.cache as object), ...(value as object) } : value
      continue
    }
    const schema = node.driver.options[name]
    if (schema?.type === 'child') {
      // A backing file is read whatever the mode of the node above.
      takeChild(node, name, value, schema.role === 'cow' ? {} : modeOf({ ...defaults, ...given }), collected)
    } else if (schema?.type === 'children') checkList(node, name, value)
    else if (schema?.reopen) options[name] = value
    else if (!isSame(value, currentValue(node, name, schema))) throw cannotChange(toKebabCase(name))
  }
  for (const [name, schema] of Object.entries(node.driver.options)) {
    if (name in given) continue
    if (schema.type === 'child' && schema.role === 'cow' && node.children.has(name)) {
      throw new BlockError('EINVAL', `backing is missing for '${node.name}'`)
    }
    if (schema.reopen && name in node.options && 'default' in schema) options[name] = schema.default
  }
  return [{ node, options, children: collected.children }, ...collected.within]
}

/** What a child takes from the node that it was opened with. */
function modeOf({ readOnly, autoReadOnly }: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return { ...(readOnly === undefined ? {} : { readOnly }), ...(autoReadOnly === undefined ? {} : { autoReadOnly }) }
}

function takeChild(
  node: Node,
  name: string,
  value: unknown,
  mode: Readonly<Record<string, unknown>>,
  { children, within }: Collected,
): void {
  const present = node.children.get(name)?.node
  if (value === null) {
    if (present !== undefined) children.set(name, undefined)
    return
  }
  if (typeof value === 'string') {
    if (present?.name !== value) children.set(name, value)
    return
  }
  // What was opened with the node has the mode of the node where its own options say nothing.
  if (present?.inheritsFrom !== node) {
    throw new BlockError('EINVAL', `Cannot change the option '${name}': reopen takes the name of a node`)
  }
  within.push(...changesOf(present, value as Readonly<Record<string, unknown>>, mode))
}

function checkList(node: Node, name: string, value: unknown): void {
  const names = Array.isArray(value) ? value : []
  names.forEach((one, i) => {
    if (node.children.get(`${name}.${i}`)?.nodeName !== one) throw cannotChange(name)
  })
}

function currentValue(node: Node, name: string, schema: OptionSchema | undefined): unknown {
  return node.options[name] ?? (schema !== undefined && 'default' in schema ? schema.default : undefined)
}

function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}

function cannotChange(name: string): BlockError {
  return new BlockError('EINVAL', `Cannot change the option '${name}'`)
}
