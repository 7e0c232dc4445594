/** Making new images. */
import { topBase } from './base-options.ts'
import { withoutChildSchemas } from './child-options.ts'
import { ChildTable } from './child-table.ts'
import { Permission } from './contract.ts'
import type { Edge } from './edge.ts'
import { BlockError, throwIfAborted } from './errors.ts'
import { protocolOf, resolveLiteral } from './filenames.ts'
import type { Graph } from './graph.ts'
import type { Node } from './node.ts'
import type { OptionSchemas } from './option-schema.ts'
import { Root } from './root.ts'
import { isRecord, optional, validateOptions } from './validate.ts'

/**
 * Makes an image from create options. A child that is defined inline is created first (its definition may carry the
 * create options of its own driver), opened, written into and closed; a child that is named is written into.
 * If the format fails, files that were made here are removed.
 */
export async function createImage(
  graph: Graph,
  options: Readonly<Record<string, unknown>>,
  signal: AbortSignal | undefined,
): Promise<void> {
  throwIfAborted(signal)
  if (!isRecord(options)) throw new BlockError('EINVAL', 'a new image is described by options by name')
  const { driver: name, ...given } = options
  const driver = await graph.registry.of(name)
  if (driver.create === undefined || driver.createOptions === undefined) {
    throw new BlockError('ENOTSUP', `Format driver '${driver.name}' does not support image creation`)
  }
  const schemas = driver.createOptions
  const values = validateOptions(schemas, given)
  const plain = Object.fromEntries(Object.entries(values).filter(([key]) => key in withoutChildSchemas(schemas)))
  driver.validateCreate?.(plain)
  const children = new Map<string, Edge>()
  const made: Readonly<Record<string, unknown>>[] = []
  const roots: Root[] = []
  try {
    for (const [childName, schema] of Object.entries(schemas)) {
      const definition = values[childName]
      if (schema.type !== 'child' || definition === undefined || definition === null) continue
      const node = await openStorage(graph, definition, made, signal)
      const root = await attachWriter(graph, node, `new ${driver.name} image '${node.filename}'`)
      roots.push(root)
      children.set(childName, root.edge)
    }
    await driver.create({
      options: plain,
      children: new ChildTable(children),
      signal,
      clock: graph.clock,
      random: graph.random,
      secret: (id) => graph.secret(id),
      warn: (message) => graph.warn(message),
      createFile: async (fileName) => {
        const storage = await openStorage(graph, await beside(graph, children, fileName), made, signal)
        const root = await attachWriter(graph, storage, `file '${fileName}' of a new ${driver.name} image`)
        roots.push(root)
        return root.edge
      },
    })
    for (const root of roots) await root.flush()
    for (let root = roots.shift(); root !== undefined; root = roots.shift()) await graph.detachRoot(root)
  } catch (error) {
    for (const root of roots) await graph.detachRoot(root).catch(() => undefined)
    for (const storage of made) await removeStorage(graph, storage)
    throw error
  }
}

/** The definition of one more file of an image, beside its `file` child and by the same protocol. */
async function beside(
  graph: Graph,
  children: ReadonlyMap<string, Edge>,
  name: string,
): Promise<Readonly<Record<string, unknown>>> {
  if (name === '' || /[/\\\0]/.test(name) || name === '.' || name === '..') {
    throw new BlockError('EINVAL', `'${name}' is not a plain file name`)
  }
  const file = children.get('file')?.node
  if (file === undefined) throw new BlockError('EINVAL', `there is no file beside which '${name}' could be made`)
  const filename = resolveLiteral(file.filename, name)
  if (protocolOf(file.filename) === undefined) return { driver: file.driver.name, filename }
  const options = await graph.optionsFromFilename(filename)
  if (options.driver === file.driver.name) return options
  throw new BlockError('EINVAL', `there is no place beside '${file.filename}' for '${name}'`)
}

async function attachWriter(graph: Graph, node: Node, description: string): Promise<Root> {
  const permissions = Permission.ConsistentRead | Permission.Write | Permission.Resize
  const settings = { description, permissions: { permissions, shared: Permission.ConsistentRead } }
  try {
    return await graph.attachRoot(new Root(node, settings), settings)
  } finally {
    await graph.release(node)
  }
}

/** Creates (if it is defined inline and can be created) and opens the storage of a new image. It is pinned. */
async function openStorage(
  graph: Graph,
  definition: unknown,
  made: Readonly<Record<string, unknown>>[],
  signal: AbortSignal | undefined,
): Promise<Node> {
  if (typeof definition === 'string') return graph.openDefinition(graph.require(definition), { signal })
  if (!isRecord(definition)) throw new BlockError('EINVAL', "Parameter 'file' expects a node name or a definition")
  const driver = await graph.registry.of(definition.driver)
  const base = { ...topBase, autoReadOnly: false, discard: 'unmap' as const }
  if (driver.create === undefined || driver.createOptions === undefined) {
    return graph.openDefinition(definition, { base, signal })
  }
  const { driver: _, ...given } = definition
  const { createOptions } = driver
  const forCreate = pick(given, (key) => key in createOptions || !(key in driver.options))
  const size = 'size' in createOptions ? { size: 0 } : {}
  await createImage(graph, { ...size, ...forCreate, driver: driver.name }, signal)
  const forOpen = { ...pick(given, (key) => key in driver.options || !(key in createOptions)), driver: driver.name }
  made.push(forOpen)
  return graph.openDefinition(forOpen, { base, signal })
}

async function removeStorage(graph: Graph, definition: Readonly<Record<string, unknown>>): Promise<void> {
  const driver = await graph.registry.get(String(definition.driver))
  await driver
    .remove?.(definition)
    .catch((error: Error) => graph.warn(`cannot remove the unfinished image: ${error.message}`))
}

function pick(given: Readonly<Record<string, unknown>>, wanted: (key: string) => boolean): Record<string, unknown> {
  return Object.fromEntries(Object.entries(given).filter(([key]) => wanted(key)))
}

/** Create options as `amend` takes them: validated, without defaults; only those that may be amended. */
export function validateAmend(
  schemas: OptionSchemas,
  given: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  return validateOptions(optional(schemas), given, { withoutDefaults: true })
}
