/**
 * Opening: from a definition (options with children inside) to a node with an open image.
 *
 * Children that the definition names are opened first; then the driver parses its image and may ask for what the
 * image refers to (`reference`), which passes the graph's gate. A node joins the graph's table only when all of it
 * is open; on any failure everything that was opened on the way is closed again. A {@link Scope} travels down the
 * chain: how deep it is, and the identity of every storage above, by which a loop is found before it turns.
 */

import type { Clock, RandomSource } from '../clock.ts'
import type { ImageReference, OpenContext } from '../contract/contexts.ts'
import type { BlockEvent, ChildHandle, ChildRole } from '../contract/contract.ts'
import type { DriverDescriptor } from '../contract/descriptor.ts'
import type { OptionSchemas } from '../contract/option-schema.ts'
import { BlockError, throwIfAborted, toBlockError } from '../errors.ts'
import type { Change, Definition } from '../graph/change.ts'
import { ChildTable } from '../graph/child-table.ts'
import { ownMode } from '../graph/inheritance.ts'
import type { GraphEdge } from '../graph/node.ts'
import { isNode, Node } from '../graph/node.ts'
import { imageFilename, nodeFilename } from '../graph/node-filename.ts'
import type { ObjectTable } from '../graph/object-table.ts'
import { kindOf } from '../inspection.ts'
import {
  baseOptions,
  checkBase,
  checkedName,
  isForReading,
  knownBase,
  type ResolvedBase,
  resolveBase,
  storageBase,
} from '../options/base-options.ts'
import {
  namedChildren,
  requireChildren,
  roleOf,
  withoutChildren,
  withoutChildSchemas,
} from '../options/child-options.ts'
import { resolveReference } from '../options/filenames.ts'
import { isRecord, optionPath, spelledOptions, validateOptions } from '../options/validate.ts'
import { checkLoop, inChain, tooDeep } from './chain.ts'
import { backingFailure, childFailure } from './failures.ts'
import { containingDirectory, judgeReference, type ReferencePolicy } from './gate.ts'
import {
  childDefinition,
  literalDefinition,
  namedDefinition,
  optionsFromFilename,
  unsupportedOption,
} from './named-definition.ts'
import { type OpenedChild, Opening, type OpeningGraph, release } from './opening.ts'
import { isOverride, refuseUnusedOverrides } from './overrides.ts'
import type { Registry } from './registry.ts'
import type { OpenSettings } from './settings.ts'

/** What one opening knows of the chain above it. */
export interface Scope {
  readonly depth: number
  /** Where the definition stands inside of another, for messages: `file`. */
  readonly path: string
  /** Storage identities on the way from the top of the chain to here, with the names they were opened by. */
  readonly chain: Map<string, string>
  readonly inspect: boolean
  readonly keyless: boolean
  /** The top node is opened to be checked. */
  readonly check: boolean
  /** References inside images are not followed. */
  readonly withoutBacking: boolean
  readonly standIn: OpenSettings['standIn']
  readonly base: ResolvedBase
  /** Only files in this directory may be opened. */
  readonly contain: string | undefined
  readonly signal: AbortSignal | undefined
  /** The change in which this happens; without one, every link of the graph is a change of its own. */
  readonly change: Change | undefined
}

/** What opening needs of the graph: its drivers, and what their images may use. */
interface OpenerGraph extends OpeningGraph {
  readonly registry: Registry
  readonly references: ReferencePolicy
  readonly maxDepth: number
  readonly objects: ObjectTable
  readonly clock: Clock
  readonly random: RandomSource
  secret(id: string): Uint8Array
  emit(event: BlockEvent): void
  generateName(): string
}

/** Opens definitions for one graph. */
export class Opener {
  readonly #graph: OpenerGraph

  constructor(graph: OpenerGraph) {
    this.#graph = graph
  }

  /** Opens a definition and all below it. The node is pinned: release it when it has a user, or none is to come. */
  async open(definition: Definition, scope: Scope): Promise<Node> {
    if (isNode(definition)) return pinned(this.#graph.table.require(definition))
    throwIfAborted(scope.signal)
    if (!isRecord(definition)) {
      throw new BlockError('EINVAL', `options are an object, not ${kindOf(definition)}`, {
        hint: "graph.add({ driver: 'raw', file: { driver: 'file', filename: 'disk.img' } })",
      })
    }
    if (scope.depth > this.#graph.maxDepth) throw tooDeep(this.#graph.maxDepth, scope.chain)
    const complete = await this.#withoutFilename(definition)
    if (complete.driver === undefined && complete.file !== undefined) return this.openProbed(complete, scope)
    const driver = await this.#graph.registry.of(complete.driver)
    requireChildren(driver.options, complete)
    const { path } = scope
    const unknown = (option: string): string =>
      unsupportedOption(driver, path === '' ? option : option.slice(path.length + 1))
    const named = { ...complete, driver: driver.name }
    const given = validateOptions({ ...driver.options, ...baseOptions }, named, {
      path,
      withoutDefaults: true,
      unknown,
    })
    const name = given.nodeName === undefined ? this.#graph.generateName() : checkedName(given.nodeName as string)
    const resolved = resolveBase(given, scope.base)
    const base = isForReading(driver, resolved) ? { ...resolved, readOnly: true } : resolved
    const guess = Object.hasOwn(complete, probed)
    const spelled = spelledOptions(named, given)
    return this.#graph.table.reserving(name, () =>
      this.#openNamed({ name, driver, given, spelled, base, guess }, scope),
    )
  }

  /** `definition`; one that has a file name instead of a driver becomes what the name stands for. */
  async #withoutFilename(definition: Options): Promise<Options> {
    let at = definition
    for (let names = 0; at.driver === undefined && typeof at.filename === 'string'; names++) {
      if (names === 8) throw new BlockError('EINVAL', 'file names inside file names are nested too deeply')
      const { filename, ...rest } = at
      at = { ...(await optionsFromFilename(this.#graph.registry, filename as string)), ...rest }
    }
    return at
  }

  /** Opens `definition`, whose `file` child is opened first and asked for its format. */
  async openProbed(definition: Options, scope: Scope): Promise<Node> {
    const { file, ...rest } = definition
    // What is said of the format holds for its storage, too, as it does where the format is given.
    const base = storageBase(resolveBase(knownBase(rest), scope.base))
    const storage = await this.#openChild(file as Definition | string, 'file', {
      ...scope,
      check: false,
      base,
      path: optionPath(scope.path, 'file'),
    })
    let isOpen = true
    const close = async (): Promise<void> => {
      if (isOpen) await release(this.#graph, storage, scope.change)
      isOpen = false
    }
    try {
      const format = await this.#graph.registry.probeNode(storage)
      const ownStorage = typeof file !== 'string' && !isNode(file)
      if (ownStorage && isForReading(await this.#graph.registry.of(format), base)) {
        // It was opened for writing, which its format has no use for.
        await close()
        return await this.open({ ...rest, driver: format, file }, scope)
      }
      const guess = format === 'raw' ? { [probed]: true } : {}
      const node = await this.open({ ...rest, driver: format, file: storage, ...guess }, scope)
      if (ownStorage) storage.inheritsFrom = node
      return node
    } finally {
      await close()
    }
  }

  async #openNamed({ name, driver, given, spelled, base, guess }: Plan, scope: Scope): Promise<Node> {
    checkBase(base)
    const opened = await this.#openChildren(driver.options, given, base, scope)
    const options = withoutChildren(driver.options, given)
    const node = new Node({
      name,
      driver,
      options,
      spelled,
      filename: nodeFilename({ driver, options, spelled }, opened),
      readOnly:
        base.readOnly || (base.autoReadOnly && opened.some(({ role, node }) => role !== 'cow' && node.readOnly)),
      cache: base.cache,
      discard: base.discard,
      detectZeroes: base.detectZeroes,
      forceShare: base.forceShare,
      children: new Map<string, GraphEdge>(),
      clock: this.#graph.clock,
      warn: (message) => this.#graph.warn(message),
    })
    node.pins++
    ownMode(node, given)
    const opening = new Opening(this.#graph, node, scope.change)
    try {
      await opening.link(opened)
      const context = this.#context(opening, given, base, scope)
      node.attachImage(await driver.open(context))
      if (!scope.withoutBacking && !scope.inspect) await refuseUnusedOverrides(this.#graph.registry, node, given)
      if (node.image.write === undefined && !node.readOnly)
        context.becomeReadOnly(`driver '${driver.name}' cannot write`)
      if (guess) node.probeGuard = (head) => this.#graph.registry.looksFormatted(head, node.filename)
      node.updatePaths()
      checkLoop(node, scope.chain)
      opening.end()
      return node
    } catch (error) {
      opening.end()
      await this.#graph.within(scope.change, async () => {
        await this.#graph.table
          .discard(node, scope.change)
          .catch((second) => this.#graph.warn(toBlockError(second).message))
        for (const { node: child } of opened) await this.#graph.table.closeQuietly(child, scope.change)
      })
      const failure = toBlockError(error)
      failure.node ??= name
      throw failure
    }
  }

  async #openChildren(
    schemas: OptionSchemas,
    given: Options,
    base: ResolvedBase,
    scope: Scope,
  ): Promise<OpenedChild[]> {
    const opened: OpenedChild[] = []
    try {
      for (const { name, role, value } of namedChildren(schemas, given)) {
        if (role === 'cow' && (await isOverride(this.#graph.registry, value))) continue
        const below = { ...storageBase(base), readOnly: role === 'cow' || base.readOnly }
        // A child beside or below the storage is a step down; the storage itself is the same image.
        const depth = role === 'cow' ? scope.depth + 1 : scope.depth
        const chain = role === 'replica' ? new Map(scope.chain) : scope.chain
        const nested = { ...scope, check: false, base: below, depth, path: optionPath(scope.path, name), chain }
        const opening = this.#openChild(value as Definition | string, name, nested)
        const child = await (role === 'cow' && isRecord(value) ? opening.catch(backingFailure) : opening)
        opened.push({ name, role, node: child, follows: typeof value !== 'string' && !isNode(value) })
      }
    } catch (error) {
      for (const { node } of opened) await release(this.#graph, node, scope.change)
      throw error
    }
    return opened
  }

  async #openChild(value: Definition | string, name: string, scope: Scope): Promise<Node> {
    if (typeof value === 'string') return pinned(this.#graph.table.require(value))
    if (!isNode(value) && !isRecord(value)) {
      throw new BlockError('EINVAL', `Parameter '${name}' expects a node name or a definition of a node`)
    }
    return this.open(value, scope)
  }

  #context(opening: Opening, given: Options, base: ResolvedBase, scope: Scope): OpenContext {
    const { node } = opening
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
      keyless: scope.keyless,
      check: scope.check,
      children: new ChildTable(node.children),
      contain: scope.contain,
      signal: scope.signal,
      clock: this.#graph.clock,
      random: this.#graph.random,
      reference: (name, reference) => this.#reference(opening, { name, reference, given, base }, scope),
      inBackground: (work, signal) => node.inBackground(work, signal),
      becomeReadOnly: (reason) => {
        if (!base.autoReadOnly && !node.readOnly) throw new BlockError('EROFS', reason, { node: node.name })
        node.readOnly = true
      },
      secret: (id) => this.#graph.secret(id),
      object: (type, id) => this.#graph.objects.get(type, id),
      bitmap: (name, bitmap) => this.#graph.table.require(name).bitmap(bitmap),
      emit: (event, data) => this.#graph.emit({ event, nodeName: node.name, data }),
      warn: (message) => this.#graph.warn(message),
    }
  }

  async #reference(
    opening: Opening,
    { name, reference, given, base }: Reference,
    scope: Scope,
  ): Promise<ChildHandle | undefined> {
    const { node } = opening
    const present = node.children.get(name)
    if (present !== undefined) return present
    const own = given[name]
    const overrides = own !== undefined && (await isOverride(this.#graph.registry, own)) ? (own as Options) : {}
    const { part = false } = reference
    if ((name in given && overrides !== own) || ((scope.withoutBacking || scope.inspect) && !part)) return undefined
    const role = roleOf(node.driver, name)
    const what = role === 'cow' ? 'backing file' : `'${name}' file`
    const verdict = judgeReference(this.#graph.references, imageFilename(node), name, reference)
    if (verdict !== true) {
      throw new BlockError(verdict.code, `refusing to open the ${what} '${reference.filename}': ${verdict.reason}`, {
        hint: `pass references: 'allow' to new Graph(…), or give '${name}' as an option of the node`,
      })
    }
    const below = { ...storageBase(base), readOnly: role === 'cow' || node.readOnly, autoReadOnly: true }
    const contain = this.#graph.references === 'neighbours' ? containingDirectory(imageFilename(node)) : scope.contain
    const check = scope.check && scope.standIn !== undefined
    const nested = { ...scope, check, depth: scope.depth + 1, path: '', base: below, contain }
    try {
      await opening.suspended(async () => {
        const open = () =>
          this.#openReferenced(node, role, reference, { ...nested, overrides }).catch((error: unknown) =>
            this.#standIn(reference, error, nested),
          )
        await opening.link([{ name, role, node: await inChain(node, scope.chain, open), follows: true }])
      })
      const child = node.children.get(name)
      if (child !== undefined && role === 'cow') node.referred = { name: reference.filename, filename: child.filename }
      return child
    } catch (error) {
      throw part ? error : childFailure(what, error)
    }
  }

  /** What stands for a file that cannot be opened, where the opening is to go on without it. */
  #standIn({ filename }: ImageReference, error: unknown, scope: Scope): Promise<Node> {
    const driver = scope.signal?.aborted ? undefined : scope.standIn?.(filename, toBlockError(error))
    if (driver === undefined) throw error
    return this.open({ driver }, scope)
  }

  /** Backing files may have any name; other references are literal file names. */
  async #openReferenced(
    node: Node,
    role: ChildRole,
    { filename, format }: ImageReference,
    { overrides, ...scope }: Scope & { readonly overrides: Options },
  ): Promise<Node> {
    const image = imageFilename(node)
    if (role === 'cow') {
      const { driver, ...rest } = overrides
      const given = driver === undefined ? format : String(driver)
      return this.openFilename(resolveReference(image, filename), given, scope, rest)
    }
    return this.open(await literalDefinition(this.#graph.registry, node, filename), scope)
  }

  /** Opens a file name with a known format, or probes it. Options of the file itself may stand in `options.file`. */
  async openFilename(filename: string, format: string | undefined, scope: Scope, options: Options = {}): Promise<Node> {
    const { registry } = this.#graph
    const given = format === undefined ? options : { driver: format, ...options }
    if (filename.startsWith('json:')) {
      return this.open({ ...(await optionsFromFilename(registry, filename)), ...given }, scope)
    }
    if (format !== undefined) await registry.get(format)
    if (given.driver !== undefined) return this.open(await namedDefinition(registry, filename, given), scope)
    const { file = {}, ...rest } = options
    return this.openProbed({ ...rest, file: await childDefinition(registry, 'file', filename, file) }, scope)
  }
}

type Options = Readonly<Record<string, unknown>>

/** Marks a definition whose format, raw, was guessed. */
const probed: unique symbol = Symbol('probed')

/** One node about to be opened: its validated options, and whether its format was guessed to be raw. */
interface Plan {
  readonly name: string
  readonly driver: DriverDescriptor
  readonly given: Options
  readonly spelled: Options
  readonly base: ResolvedBase
  readonly guess: boolean
}

/** What an image refers to, and what its definition says of that child. */
interface Reference {
  readonly name: string
  readonly reference: ImageReference
  readonly given: Options
  readonly base: ResolvedBase
}

function pinned(node: Node): Node {
  node.pins++
  return node
}
