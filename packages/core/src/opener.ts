/**
 * Opening: from a definition (options with children inside) to a node with an open image.
 *
 * Children that the definition names are opened first; then the driver parses its image and may ask for what the
 * image refers to (`reference`), which passes the graph's gate. A node joins the graph's table only when all of it
 * is open; on any failure everything that was opened on the way is closed again. A {@link Scope} travels down the
 * chain: how deep it is, and the identity of every storage above, by which a loop is found before it turns.
 */
import { baseOptions, type ResolvedBase, resolveBase } from './base-options.ts'
import { namedChildren, pick, requireChildren, withoutChildren, withoutChildSchemas } from './child-options.ts'
import { ChildTable } from './child-table.ts'
import type { ChildHandle, ChildRole, DriverDescriptor, ImageReference, OpenContext } from './contract.ts'
import { Edge } from './edge.ts'
import { BlockError, throwIfAborted, toBlockError } from './errors.ts'
import { directoryOf, parseJsonFilename, protocolOf, resolveReference } from './filenames.ts'
import { judgeReference } from './gate.ts'
import type { Graph } from './graph.ts'
import { Node } from './node.ts'
import { nodeFilename } from './node-filename.ts'
import type { OptionSchemas } from './option-schema.ts'
import { PermissionUpdate } from './permissions.ts'
import { isRecord, validateOptions } from './validate.ts'

/** What one opening knows of the chain above it. */
export interface Scope {
  readonly depth: number
  /** Storage identities on the way from the top of the chain to here, with the names they were opened by. */
  readonly chain: Map<string, string>
  readonly inspect: boolean
  /** The top node is opened to be checked. */
  readonly check: boolean
  /** References inside images are not followed. */
  readonly withoutBacking: boolean
  readonly base: ResolvedBase
  /** Only files in this directory may be opened. */
  readonly contain: string | undefined
  readonly signal: AbortSignal | undefined
}

/** A definition of a node: options by name, or a node that is open already. */
export type Definition = Readonly<Record<string, unknown>> | Node

/** Opens definitions for one graph. */
export class Opener {
  readonly #graph: Graph

  constructor(graph: Graph) {
    this.#graph = graph
  }

  /** Opens a definition and all below it. The node is not in use yet: attach it or close it. */
  async open(definition: Definition, scope: Scope): Promise<Node> {
    if (definition instanceof Node) return definition
    throwIfAborted(scope.signal)
    if (scope.depth > this.#graph.maxDepth) throw tooDeep(this.#graph.maxDepth, scope.chain)
    const complete = await this.#withDriver(definition, scope)
    if (complete instanceof Node) return complete
    const driver = await this.#graph.registry.get(complete.driver as string)
    requireChildren(driver.options, complete)
    const unknown = (option: string): string => unsupportedOption(driver, option)
    const given = validateOptions({ ...driver.options, ...baseOptions }, complete, { withoutDefaults: true, unknown })
    const name = (given.nodeName as string | undefined) ?? this.#graph.generateName()
    const base = resolveBase(given, scope.base)
    const guess = Object.hasOwn(complete, probed)
    return this.#graph.reserving(name, () => this.#openNamed({ name, driver, given, base, guess }, scope))
  }

  /** A definition that only has a file name: what the name stands for. */
  async #withDriver(
    definition: Readonly<Record<string, unknown>>,
    scope: Scope,
  ): Promise<Readonly<Record<string, unknown>> | Node> {
    if (definition.driver !== undefined) return definition
    if (typeof definition.filename === 'string') {
      const { filename, ...rest } = definition
      const named = await this.optionsFromFilename(filename as string)
      return named.driver === undefined ? this.#withDriver({ ...named, ...rest }, scope) : { ...named, ...rest }
    }
    if (definition.file !== undefined) return this.withProbedFormat(definition, scope)
    throw new BlockError('EINVAL', "A value is required for option 'driver'")
  }

  /** `definition`, whose `file` child is opened now and asked for its format. */
  async withProbedFormat(definition: Readonly<Record<string, unknown>>, scope: Scope): Promise<Definition> {
    const { file, ...rest } = definition
    const base = resolveBase(validateOptions(baseOptions, { ...pick(rest, baseOptions), driver: '' }), scope.base)
    const storage = await this.#openChild(file as Definition | string, 'file', { ...scope, check: false, base })
    try {
      const format = await this.#graph.probeNode(storage)
      return { ...rest, driver: format, file: storage, ...(format === 'raw' ? { [probed]: true } : {}) }
    } catch (error) {
      await this.#graph.closeIfUnused(storage)
      throw error
    }
  }

  /** Options for a plain name, a name with a protocol, or a `json:` name. Without `driver` when it must be probed. */
  async optionsFromFilename(filename: string): Promise<Record<string, unknown>> {
    if (filename.startsWith('json:')) return parseJsonFilename(filename)
    const protocol = protocolOf(filename)
    if (protocol === undefined) return { driver: await this.#graph.registry.forPath(filename), filename }
    const driver = await this.#graph.registry.forPrefix(protocol)
    if (driver?.parseFilename !== undefined) return { driver: driver.name, ...driver.parseFilename(filename) }
    if (protocol === 'file') return { driver: 'file', filename: filename.slice('file:'.length) }
    throw new BlockError('EINVAL', `Unknown protocol '${protocol}'`)
  }

  async #openNamed({ name, driver, given, base, guess }: Plan, scope: Scope): Promise<Node> {
    const children = new Map<string, Edge>()
    const opened = await this.#openChildren(driver.options, given, base, scope)
    const node = new Node({
      name,
      driver,
      options: withoutChildren(driver.options, given),
      filename: nodeFilename(driver, withoutChildren(driver.options, given), opened),
      readOnly: base.readOnly || (base.autoReadOnly && opened.some((child) => isStorage(child) && child.node.readOnly)),
      cache: base.cache,
      discard: base.discard,
      detectZeroes: base.detectZeroes,
      forceShare: base.forceShare,
      children,
    })
    try {
      if (base.detectZeroes === 'unmap' && base.discard !== 'unmap') {
        throw new BlockError(
          'EINVAL',
          'setting detect-zeroes to unmap is not allowed without setting discard operation to unmap',
        )
      }
      await this.#attachChildren(node, opened)
      const context = this.#context(node, given, base, scope)
      node.attachImage(await driver.open(context))
      if (node.image.write === undefined && !node.readOnly)
        context.becomeReadOnly(`driver '${driver.name}' cannot write`)
      if (guess) node.probeGuard = this.#graph.probeGuard(node)
      node.updatePaths()
      checkLoop(node, scope)
      return node
    } catch (error) {
      await this.#graph.discard(node)
      for (const { node: child } of opened) await this.#graph.closeIfUnused(child)
      const failure = toBlockError(error)
      failure.node ??= name
      throw failure
    }
  }

  async #openChildren(
    schemas: OptionSchemas,
    given: Readonly<Record<string, unknown>>,
    base: ResolvedBase,
    scope: Scope,
  ): Promise<OpenedChild[]> {
    const opened: OpenedChild[] = []
    try {
      for (const { name, role, value } of namedChildren(schemas, given)) {
        const below: ResolvedBase = {
          ...base,
          readOnly: role === 'cow' || base.readOnly,
          discard: 'unmap',
          detectZeroes: 'off',
        }
        // A child beside or below the storage is a step down; the storage itself is the same image.
        const depth = role === 'cow' ? scope.depth + 1 : scope.depth
        const chain = role === 'replica' ? new Map(scope.chain) : scope.chain
        const child = await this.#openChild(value as Definition | string, name, {
          ...scope,
          check: false,
          base: below,
          depth,
          chain,
        })
        opened.push({ name, role, node: child })
      }
    } catch (error) {
      for (const { node } of opened) await this.#graph.closeIfUnused(node)
      throw error
    }
    return opened
  }

  async #openChild(value: Definition | string, name: string, scope: Scope): Promise<Node> {
    if (typeof value === 'string') {
      const node = this.#graph.find(value)
      if (node === undefined) throw new BlockError('ENODEV', `Cannot find device='${value}' nor node-name='${value}'`)
      return node
    }
    if (!(value instanceof Node) && !isRecord(value)) {
      throw new BlockError('EINVAL', `Parameter '${name}' expects a node name or a definition of a node`)
    }
    return this.open(value, scope)
  }

  async #attachChildren(node: Node, opened: readonly OpenedChild[]): Promise<void> {
    const update = new PermissionUpdate()
    for (const { name, role, node: child } of opened) {
      const edge = new Edge(node, name, role, child)
      node.children.set(name, edge)
      child.parents.add(edge)
    }
    update.touchChildren(node)
    await update.apply()
  }

  #context(node: Node, given: Readonly<Record<string, unknown>>, base: ResolvedBase, scope: Scope): OpenContext {
    return {
      options: validateOptions(withoutChildSchemas(node.driver.options), node.options),
      nodeName: node.name,
      get readOnly() {
        return node.readOnly
      },
      autoReadOnly: base.autoReadOnly,
      cache: node.cache,
      discard: node.discardMode,
      inspect: scope.inspect,
      check: scope.check,
      children: new ChildTable(node.children),
      contain: scope.contain,
      signal: scope.signal,
      reference: (name, reference) => this.#reference(node, name, reference, given, base, scope),
      becomeReadOnly: (reason) => {
        if (!base.autoReadOnly && !node.readOnly) throw new BlockError('EROFS', reason, { node: node.name })
        node.readOnly = true
      },
      secret: (id) => this.#graph.secret(id),
      emit: (event, data) => this.#graph.emit({ event, nodeName: node.name, data }),
      warn: (message) => this.#graph.warn(message),
    }
  }

  async #reference(
    node: Node,
    name: string,
    reference: ImageReference,
    given: Readonly<Record<string, unknown>>,
    base: ResolvedBase,
    scope: Scope,
  ): Promise<ChildHandle | undefined> {
    const present = node.children.get(name)
    if (present !== undefined) return present
    if (name in given || scope.withoutBacking || scope.inspect) return undefined
    const schema = node.driver.options[name]
    const role: ChildRole = schema?.type === 'child' ? schema.role : 'cow'
    const what = role === 'cow' ? 'backing file' : `'${name}' file`
    const verdict = judgeReference(this.#graph.references, node.filename, name, reference)
    if (verdict !== true) {
      throw new BlockError(verdict.code, `refusing to open the ${what} '${reference.filename}': ${verdict.reason}`, {
        hint: `pass references: 'allow' to new Graph(…), or give '${name}' as an option of the node`,
      })
    }
    const below: ResolvedBase = {
      ...base,
      readOnly: role === 'cow' || node.readOnly,
      autoReadOnly: true,
      discard: 'unmap',
      detectZeroes: 'off',
    }
    const contain = this.#graph.references === 'neighbours' ? containingDirectory(node.filename) : scope.contain
    const nested = { ...scope, check: false, depth: scope.depth + 1, base: below, contain }
    try {
      const child = await this.#inChain(node, scope, () => this.#openReferenced(node, role, reference, nested))
      await this.#attachReferenced(node, name, role, child)
      return node.children.get(name)
    } catch (error) {
      const failure = toBlockError(error)
      throw new BlockError(failure.code, `Could not open ${what}: ${failure.message}`, {
        cause: error,
        hint: failure.hint,
        node: failure.node,
      })
    }
  }

  async #attachReferenced(node: Node, name: string, role: ChildRole, child: Node): Promise<void> {
    try {
      await this.#attachChildren(node, [{ name, role, node: child }])
    } catch (error) {
      await this.#graph.detachChild(node, name)
      throw error
    }
  }

  /** Backing files may have any name; other references are literal file names. */
  async #openReferenced(node: Node, role: ChildRole, reference: ImageReference, scope: Scope): Promise<Node> {
    const { format } = reference
    if (role !== 'cow') {
      const filename = reference.filename.startsWith('/')
        ? reference.filename
        : directoryOf(node.filename) + reference.filename
      return this.open({ driver: 'file', filename }, scope)
    }
    const filename = resolveReference(node.filename, reference.filename)
    return this.openFilename(filename, format, scope)
  }

  /** Opens a file name with a known format, or probes it. */
  async openFilename(
    filename: string,
    format: string | undefined,
    scope: Scope,
    options: Readonly<Record<string, unknown>> = {},
  ): Promise<Node> {
    const named = await this.optionsFromFilename(filename)
    if (filename.startsWith('json:')) {
      return this.open({ ...named, ...(format === undefined ? {} : { driver: format }), ...options }, scope)
    }
    if (format === undefined) {
      const definition = await this.withProbedFormat({ ...options, file: named }, scope)
      return this.open(definition, scope)
    }
    const driver = await this.#graph.registry.get(format)
    if (driver.kind === 'protocol') return this.open({ ...named, driver: format, ...options }, scope)
    return this.open({ driver: format, file: named, ...options }, scope)
  }

  /** Runs `open` with the identity of `node`'s storage on record. */
  async #inChain<T>(node: Node, scope: Scope, open: () => Promise<T>): Promise<T> {
    const identity = identityOf(node)
    if (identity === undefined || scope.chain.has(identity)) return open()
    scope.chain.set(identity, node.filename)
    try {
      return await open()
    } finally {
      scope.chain.delete(identity)
    }
  }
}

/** Marks a definition whose format, raw, was guessed. */
const probed: unique symbol = Symbol('probed')

/** One node about to be opened: its validated options, and whether its format was guessed to be raw. */
interface Plan {
  readonly name: string
  readonly driver: DriverDescriptor
  readonly given: Readonly<Record<string, unknown>>
  readonly base: ResolvedBase
  readonly guess: boolean
}

interface OpenedChild {
  readonly name: string
  readonly role: ChildRole
  readonly node: Node
}

function isStorage(child: OpenedChild): boolean {
  return child.role !== 'cow'
}

/** The string that tells the storage below a node from others. */
function identityOf(node: Node): string | undefined {
  if (node.image.identity !== undefined) return node.image.identity
  const storage = node.children.get('file')
  return storage === undefined ? undefined : identityOf(storage.node)
}

function checkLoop(node: Node, scope: Scope): void {
  const { identity } = node.image
  if (identity === undefined || !scope.chain.has(identity)) return
  const names = [...scope.chain.values()]
  const start = names.indexOf(scope.chain.get(identity) as string)
  throw new BlockError('ELOOP', `Backing chain loops: ${[...names.slice(start), names[start]].join(' → ')}`, {
    hint: 'give one of these images another backing file (rebase -u)',
  })
}

function unsupportedOption(driver: DriverDescriptor, option: string): string {
  return driver.kind === 'protocol'
    ? `Block protocol '${driver.name}' doesn't support the option '${option}'`
    : `Block format '${driver.name}' does not support the option '${option}'`
}

function tooDeep(maxDepth: number, chain: ReadonlyMap<string, string>): BlockError {
  const top = chain.values().next().value
  return new BlockError('ELOOP', `the backing chain of '${top}' is deeper than ${maxDepth} images`, {
    hint: 'pass a larger maxDepth to new Graph(…), or commit some of them',
  })
}

function containingDirectory(filename: string): string {
  const directory = directoryOf(filename)
  return directory === '' ? '.' : directory
}
