/** Making new images. */

import type { Clock, RandomSource } from '../clock.ts'
import type { CreateContext } from '../contract/contexts.ts'
import type { DriverDescriptor } from '../contract/descriptor.ts'
import type { DriverInfo } from '../contract/image-operations.ts'
import { BlockError, throwIfAborted } from '../errors.ts'
import type { Definition } from '../graph/change.ts'
import { ChildTable } from '../graph/child-table.ts'
import type { GraphEdge } from '../graph/node.ts'
import { Node } from '../graph/node.ts'
import { topBase } from '../options/base-options.ts'
import { withoutChildSchemas } from '../options/child-options.ts'
import { protocolOf, resolveLiteral, resolveReference } from '../options/filenames.ts'
import { isRecord, validateOptions } from '../options/validate.ts'
import { identityOf } from './chain.ts'
import { optionsFromFilename } from './named-definition.ts'
import type { Scope } from './opener.ts'
import { Opening, type OpeningGraph, release } from './opening.ts'
import type { Registry } from './registry.ts'

/** What making an image needs of the graph that it happens in. */
interface CreationGraph extends OpeningGraph {
  readonly registry: Registry
  readonly clock: Clock
  readonly random: RandomSource
  secret(id: string): Uint8Array
  /** Opens a definition that nobody uses yet; the node is pinned. */
  openDefinition(definition: Definition, scope: Partial<Scope>): Promise<Node>
  /** What an image tells of itself. */
  describe(filename: string, format: string | undefined, signal: AbortSignal | undefined): Promise<DriverInfo>
}

/**
 * Makes an image from create options. A child that is defined inline is created first (its definition may carry the
 * create options of its own driver), opened, written into and closed; a child that is named is written into.
 * If the format fails, files that were made here are removed.
 */
export async function createImage(
  graph: CreationGraph,
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
  driver.validateCreate?.(values)
  const creation = new Creation(graph, driver, signal)
  try {
    const children = Object.entries(schemas).flatMap(([childName, { type }]): [string, unknown][] => {
      const definition = values[childName]
      return type !== 'child' || definition === undefined || definition === null ? [] : [[childName, definition]]
    })
    if (children.length > 1) await creation.refuseOneFileTwice(children)
    // An old image in the place of the new one is emptied last: what can fail before it fails.
    children.sort(([one], [other]) => Number(one === 'file') - Number(other === 'file'))
    for (const [childName, definition] of children) await creation.addStorage(childName, definition)
    await driver.create(creation.context(plain))
    await creation.end()
  } catch (error) {
    await creation.undo()
    throw error
  }
}

/**
 * The making of one image: a node without an image, in no table, whose children are the files that it writes. So what
 * it writes is held and waited for by drained sections, as what an {@link Opening} reads is.
 */
class Creation {
  readonly #graph: CreationGraph
  readonly #node: Node
  readonly #opening: Opening
  readonly #signal: AbortSignal | undefined
  /** Files that were made here. */
  readonly #made: Readonly<Record<string, unknown>>[] = []

  constructor(graph: CreationGraph, driver: DriverDescriptor, signal: AbortSignal | undefined) {
    this.#graph = graph
    this.#signal = signal
    this.#node = new Node({
      ...topBase,
      name: `new ${driver.name} image`,
      // Permissions as a format's own: it writes and resizes, and lets nobody else.
      driver: { name: driver.name, kind: driver.kind, description: '', options: {}, open: driver.open },
      options: {},
      filename: '',
      children: new Map(),
      clock: graph.clock,
    })
    this.#node.pins++
    this.#opening = new Opening(graph, this.#node, undefined)
  }

  context(options: Readonly<Record<string, unknown>>): CreateContext {
    const graph = this.#graph
    return {
      options,
      children: new ChildTable(this.#node.children),
      signal: this.#signal,
      clock: graph.clock,
      random: graph.random,
      secret: (id) => graph.secret(id),
      warn: (message) => graph.warn(message),
      createFile: async (name) => this.addStorage(name, await this.#beside(name)),
      describe: ({ filename, format }) => {
        const file = this.#node.children.get('file')?.node
        const name = file === undefined ? filename : resolveReference(file.filename, filename)
        return this.#opening.suspended(() => graph.describe(name, format, this.#signal))
      },
    }
  }

  /** Makes (where it can be made) and opens what `definition` says, as the child `name`. */
  async addStorage(name: string, definition: unknown): Promise<GraphEdge> {
    await this.#opening.suspended(async () => {
      const node = await openStorage(this.#graph, definition, this.#made, this.#signal)
      await this.#opening.link([{ name, role: 'storage', node }])
      this.#mustBeApart(name, node)
    })
    return this.#node.children.get(name) as GraphEdge
  }

  /** EINVAL when two of the definitions are of one file that is there, before it is emptied. */
  async refuseOneFileTwice(children: readonly (readonly [string, unknown])[]): Promise<void> {
    const seen = new Map<string, string>()
    for (const [name, definition] of children) {
      const node = await openPresent(this.#graph, definition, this.#signal)
      if (node === undefined) continue
      const identity = identityOf(node)
      await release(this.#graph, node, undefined)
      const other = identity === undefined ? undefined : seen.get(identity)
      if (other !== undefined) throw oneFileTwice(node, other, name)
      if (identity !== undefined) seen.set(identity, name)
    }
  }

  /** Two files of an image that are one would be written over each other. */
  #mustBeApart(name: string, node: Node): void {
    const identity = identityOf(node)
    if (identity === undefined) return
    for (const [other, edge] of this.#node.children) {
      if (other !== name && identityOf(edge.node) === identity) throw oneFileTwice(node, other, name)
    }
  }

  /** Puts everything on stable storage and lets go of it. */
  async end(): Promise<void> {
    for (const edge of this.#node.children.values()) await edge.flush(this.#signal)
    await this.#letGo()
  }

  /** Lets go of everything and removes what was made. */
  async undo(): Promise<void> {
    await this.#letGo().catch(() => undefined)
    for (const storage of this.#made) await removeStorage(this.#graph, storage)
  }

  #letGo(): Promise<void> {
    this.#opening.end()
    return this.#graph.within(undefined, () => this.#graph.table.discard(this.#node))
  }

  /** The definition of one more file of the image, beside its `file` child and by the same protocol. */
  async #beside(name: string): Promise<Readonly<Record<string, unknown>>> {
    if (name === '' || /[/\\\0]/.test(name) || name === '.' || name === '..') {
      throw new BlockError('EINVAL', `'${name}' is not a plain file name`)
    }
    if (this.#node.children.has(name)) throw new BlockError('EEXIST', `the image has a file '${name}' already`)
    const file = this.#node.children.get('file')?.node
    if (file === undefined) throw new BlockError('EINVAL', `there is no file beside which '${name}' could be made`)
    const filename = resolveLiteral(file.filename, name)
    if (protocolOf(file.filename) === undefined) return { driver: file.driver.name, filename }
    const options = await optionsFromFilename(this.#graph.registry, filename)
    if (options.driver === file.driver.name) return options
    throw new BlockError('EINVAL', `there is no place beside '${file.filename}' for '${name}'`)
  }
}

function oneFileTwice({ filename }: Node, one: string, other: string): BlockError {
  return new BlockError('EINVAL', `'${filename}' cannot be both '${one}' and '${other}' of one new image`)
}

/** Opens what a new file would replace, to look at it; undefined where nothing is, or it cannot be looked at. */
async function openPresent(
  graph: CreationGraph,
  definition: unknown,
  signal: AbortSignal | undefined,
): Promise<Node | undefined> {
  if (!isRecord(definition)) return undefined
  const { options } = await graph.registry.of(definition.driver)
  const given = pick(definition, (key) => key === 'driver' || key in options)
  const base = { ...topBase, readOnly: true, forceShare: true }
  return graph.openDefinition(given, { base, inspect: true, signal }).catch(() => undefined)
}

/** Creates (if it is defined inline and can be created) and opens the storage of a new image. It is pinned. */
async function openStorage(
  graph: CreationGraph,
  definition: unknown,
  made: Readonly<Record<string, unknown>>[],
  signal: AbortSignal | undefined,
): Promise<Node> {
  if (typeof definition === 'string') return graph.openDefinition(graph.table.require(definition), { signal })
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

async function removeStorage(graph: CreationGraph, definition: Readonly<Record<string, unknown>>): Promise<void> {
  const driver = await graph.registry.get(String(definition.driver))
  await driver
    .remove?.(definition)
    .catch((error: Error) => graph.warn(`cannot remove the unfinished image: ${error.message}`))
}

function pick(given: Readonly<Record<string, unknown>>, wanted: (key: string) => boolean): Record<string, unknown> {
  return Object.fromEntries(Object.entries(given).filter(([key]) => wanted(key)))
}
