import type { ChildRole } from '../contract/contract.ts'
import { jsonFilename, resolveReference, withoutCredentials } from '../options/filenames.ts'
import type { Node } from './node.ts'

interface NamedNode {
  readonly name: string
  readonly role: ChildRole
  readonly node: Node
}

/** What a node is of, without its children. */
type Named = Pick<Node, 'driver' | 'options' | 'spelled'>

/**
 * The name by which a node can be opened again: what its protocol makes of its options, the name of the file below a
 * format, or a `json:` name where options that change the content would be lost.
 */
export function nodeFilename(named: Named, children: readonly NamedNode[]): string {
  const { driver, options } = named
  const filenames = Object.fromEntries(children.map(({ name, node }) => [name, node.filename]))
  const short = driver.formatFilename?.(options, filenames)
  if (short !== undefined) return short
  const strong = Object.entries(options).filter(([name]) => driver.options[name]?.strong === true)
  const file = filenames.file
  if (driver.kind === 'format' && strong.length === 0 && file !== undefined) {
    return file.startsWith('json:') ? jsonFilename(definitionOf(named, children)) : file
  }
  return jsonFilename(definitionOf(named, children))
}

/**
 * The name that references inside the image of `node` are relative to: that of the file which holds it, whatever stands
 * between. The node's own name where there are several such files.
 */
export function imageFilename(node: Node): string {
  return imageStorage(node).filename
}

/** The node of the file that holds the image of `node`; the last before there are several. */
export function imageStorage(node: Node): Node {
  const below = [...node.children.values()].filter(({ role }) => role !== 'cow')
  const file = node.storage ?? (below.length === 1 ? below[0] : undefined)
  return file === undefined ? node : imageStorage(file.node)
}

/**
 * The name that an image above `node` is to record of it: its own, or a `json:` name that tells the backing files, too,
 * where others stand in the graph than those that opening by its name would give. Filters of jobs are not in it.
 */
export async function backingReference(node: Node): Promise<string> {
  return nameOf(node.lasting, ({ lasting }) => lasting)
}

/** As {@link backingReference}, as it is told: with the filters of jobs that were given a name. */
export async function shownFilename(node: Node): Promise<string> {
  return nameOf(node, ({ shown }) => shown)
}

async function nameOf(node: Node, seen: (node: Node) => Node): Promise<string> {
  const definition = await replacedChain(node, seen)
  return definition === undefined ? node.filename : jsonFilename(definition)
}

/**
 * `node` with the backing files below it; undefined where they are those that the images record. `seen` passes filters
 * that do not count.
 */
async function replacedChain(node: Node, seen: (node: Node) => Node): Promise<Record<string, unknown> | undefined> {
  const { filtered } = node
  if (filtered !== undefined) {
    const replaced = await replacedChain(seen(filtered.node), seen)
    return replaced === undefined ? undefined : { ...ownDefinition(node), [filtered.name]: replaced }
  }
  const below = node.backing === undefined ? undefined : seen(node.backing.node)
  const { backingFilename } = await node.info()
  const recorded = backingFilename === undefined ? undefined : referredFilename(node, backingFilename)
  const replaced = below === undefined ? undefined : await replacedChain(below, seen)
  if (replaced === undefined && recorded === below?.filename) return undefined
  return { ...ownDefinition(node), backing: below === undefined ? null : (replaced ?? ownDefinition(below)) }
}

/** The file that the image of `node` means by a name. One that means nothing, relative to an image without a place, is that of no file. */
export function referredFilename(node: Node, reference: string): string {
  if (node.referred?.name === reference) return node.referred.filename
  try {
    return resolveReference(imageFilename(node), reference)
  } catch {
    return reference
  }
}

function ownDefinition(node: Node): Record<string, unknown> {
  return definitionOf(
    node,
    [...node.children.values()].map(({ name, role, node }) => ({ name, role, node })),
  )
}

/** Driver, content-changing options, flat, and children, nested: what `json:` names hold. */
function definitionOf({ driver, options, spelled }: Named, children: readonly NamedNode[]): Record<string, unknown> {
  const definition: Record<string, unknown> = { driver: driver.name }
  for (const [name, value] of Object.entries(options)) {
    const schema = driver.options[name]
    if (schema === undefined || schema.confidential || schema.type === 'value') continue
    if (!schema.strong && driver.kind !== 'protocol') continue
    flatten(definition, name, typeof value === 'string' ? withoutCredentials(value) : (spelled[name] ?? value))
  }
  const below: Record<string, unknown> = {}
  for (const { name, role, node } of children) {
    if (role === 'cow') continue
    below[name] = ownDefinition(node)
  }
  return { ...definition, ...nestLists(below) }
}

/** Puts `value` into `target` under dotted keys: `injectError.0.event`. */
function flatten(target: Record<string, unknown>, name: string, value: unknown): void {
  if (typeof value !== 'object' || value === null) target[name] = value
  else for (const [key, inner] of Object.entries(value)) flatten(target, `${name}.${key}`, inner)
}

/** `{ 'children.0': a }` as `{ children: [a] }`. */
function nestLists(definition: Record<string, unknown>): Record<string, unknown> {
  const result: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(definition)) {
    const match = /^(.+)\.\d+$/.exec(key)
    if (match === null) result[key] = value
    else {
      const name = match[1] as string
      const list = (result[name] ?? []) as unknown[]
      list.push(value)
      result[name] = list
    }
  }
  return result
}
