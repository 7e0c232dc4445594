/** The graph with its drivers: opens, makes and finds images, and changes what stands between them. */

import { isBytes } from '../bytes.ts'
import { type RandomSource, systemRandom } from '../clock.ts'
import { Permission } from '../contract/contract.ts'
import type { CreateOptions, NodeOptions } from '../contract/drivers.ts'
import type { DriverInfo } from '../contract/image-operations.ts'
import { BlockError } from '../errors.ts'
import { BlockGraph, closedError } from '../graph/block-graph.ts'
import type { Change, Definition } from '../graph/change.ts'
import { type AttachSettings, Disk } from '../graph/disk.ts'
import type { Node } from '../graph/node.ts'
import { ObjectTable } from '../graph/object-table.ts'
import type { RootSettings } from '../graph/root.ts'
import { kindOf } from '../inspection.ts'
import { fromQapi } from '../options/filenames.ts'
import { isRecord } from '../options/validate.ts'
import { createImage } from './create.ts'
import type { ReferencePolicy } from './gate.ts'
import { Opener, type Scope } from './opener.ts'
import { release } from './opening.ts'
import { describingFailure, nameOfDefinition, newScope, Openings } from './openings.ts'
import { Registry } from './registry.ts'
import { checkGraphSettings, checkOpenSettings, type GraphSettings, type OpenSettings } from './settings.ts'

/** The graph of nodes: opens, finds, changes and closes them. Close it, for images hold locks and unwritten metadata. */
export class Graph extends BlockGraph {
  readonly registry: Registry
  readonly references: ReferencePolicy
  readonly maxDepth: number
  readonly random: RandomSource
  /** Objects that drivers find by their id. */
  readonly objects = new ObjectTable()
  readonly #openings = new Openings()
  readonly #opener = new Opener(this)
  #generated = 0

  constructor(settings: GraphSettings) {
    checkGraphSettings(settings)
    super(settings)
    this.registry = new Registry(settings.drivers, settings.resolveDriver)
    this.references = settings.references ?? 'neighbours'
    this.maxDepth = settings.maxDepth ?? 256
    this.random = settings.random ?? systemRandom
    for (const [id, value] of Object.entries(settings.secrets ?? {})) this.addSecret(id, value)
  }

  /**
   * Opens a stack of nodes and a handle on its top. Closing the handle closes the nodes that nobody else uses. EINVAL for
   * options that are none, EPERM when other users of a node do not share what is needed, ENOTSUP for a driver that is not
   * registered; what the storage says otherwise. After an error everything is as before.
   */
  add(options: NodeOptions, settings?: OpenSettings): Promise<Disk> {
    return this.addUnchecked(options as unknown as Readonly<Record<string, unknown>>, settings)
  }

  /** As {@link add}, for options in QAPI's spelling from outside (`json:` names, QMP): validated, not typed. */
  addQapi(options: Readonly<Record<string, unknown>>, settings?: OpenSettings): Promise<Disk> {
    return this.addUnchecked(fromQapi(options), settings)
  }

  /** As {@link add}, for options that the compiler does not know. They are validated all the same. */
  addUnchecked(options: Readonly<Record<string, unknown>>, settings: OpenSettings = {}): Promise<Disk> {
    return this.#opening(settings, async (scope) => this.#handle(await this.#openDescribed(options, scope), settings))
  }

  /**
   * Opens a file by name: a path, `http://…`, `json:{…}`, `blkdebug:…`. Without `format` the file is probed, and a
   * file that is taken for raw is guarded against turning into another format.
   */
  open(
    filename: string,
    options: { readonly format?: string } & Readonly<Record<string, unknown>> = {},
    settings: OpenSettings = {},
  ): Promise<Disk> {
    if (typeof filename !== 'string') return Promise.reject(new BlockError('EINVAL', 'a file name is a text'))
    if (!isRecord(options)) {
      const hint = 'the format is one of the options: graph.open(filename, { format })'
      return Promise.reject(new BlockError('EINVAL', `options are an object, not ${kindOf(options)}`, { hint }))
    }
    const { format, ...rest } = options
    return this.#opening(settings, async (scope) => {
      const node = await describingFailure(filename, () => this.#opener.openFilename(filename, format, scope, rest))
      return this.#handle(node, settings)
    })
  }

  /** Adds a node without a user, as QMP's blockdev-add does. It stays until {@link remove}. */
  addNode(options: Readonly<Record<string, unknown>>, settings: OpenSettings = {}): Promise<Node> {
    return this.#opening(settings, async (scope) => {
      const node = await this.#openDescribed(options, scope)
      node.explicit = true
      node.pins--
      return node
    })
  }

  /** Makes a new image: storage first, then the format in it. The storage is removed again if the format fails. */
  create(options: CreateOptions, settings: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    return this.createUnchecked(options as unknown as Readonly<Record<string, unknown>>, settings)
  }

  /** As {@link create}, for options that the compiler does not know. */
  createUnchecked(
    options: Readonly<Record<string, unknown>>,
    settings: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    return this.#opening(settings, ({ signal }) => createImage(this, options, signal))
  }

  /** Opens a handle on a node that is in the graph. EPERM when its other users do not share what it needs. */
  async attach(node: Node | string, settings: AttachSettings = {}): Promise<Disk> {
    const { signal } = settings
    return this.change((change) => this.#attachDisk(change, this.table.require(node), settings), { signal })
  }

  /** Adds a secret object, for drivers whose options name it. */
  addSecret(id: string, value: Uint8Array | string): void {
    const bytes = typeof value === 'string' ? new TextEncoder().encode(value) : value
    if (!isBytes(bytes)) throw new BlockError('EINVAL', `a secret is a text or bytes, not ${kindOf(value)}`)
    this.objects.add('secret', id, bytes)
  }

  /** The bytes of a secret. EINVAL if there is none of that name. */
  secret(id: string): Uint8Array {
    return this.objects.get('secret', id) as Uint8Array
  }

  protected override async closeAll(): Promise<void> {
    await this.#openings.end(closedError())
    await super.closeAll()
  }

  /** @internal */
  generateName(): string {
    return `#block${String(++this.#generated).padStart(3, '0')}`
  }

  /** @internal */
  async openWithin(change: Change, definition: Definition): Promise<Node> {
    const node = await this.#opener.open(definition, { ...newScope({}), change })
    node.pins--
    return node
  }

  /** @internal Opens a definition that nobody uses yet; the node is pinned. */
  openDefinition(definition: Definition, scope: Partial<Scope>): Promise<Node> {
    return this.#opening(scope, (own) => this.#opener.open(definition, { ...own, ...scope, signal: own.signal }))
  }

  /** @internal Opens an image to look at, beside whoever uses it. */
  async describe(filename: string, format: string | undefined, signal?: AbortSignal): Promise<DriverInfo> {
    const node = await this.#opening({ inspect: true, signal }, (scope) => {
      const base = { ...scope.base, readOnly: true, forceShare: true }
      return this.#opener.openFilename(filename, format, { ...scope, base })
    })
    try {
      return await node.info()
    } finally {
      await release(this, node, undefined)
    }
  }

  async #opening<T>(settings: OpenSettings, open: (scope: Scope) => Promise<T>): Promise<T> {
    checkOpenSettings(settings)
    this.mustBeOpen()
    return this.#openings.run(settings, open)
  }

  /** A handle on `node`, which is pinned until then. */
  #handle(node: Node, settings: OpenSettings): Promise<Disk> {
    return this.within(undefined, async (change) => {
      const unpin = change.pin(node)
      node.pins--
      try {
        const disk = await this.#attachDisk(change, node, settings)
        await change.commit()
        return disk
      } finally {
        unpin()
      }
    })
  }

  async #attachDisk(change: Change, node: Node, settings: AttachSettings): Promise<Disk> {
    const wanted = settings.permissions ?? Permission.ConsistentRead | (node.readOnly ? 0 : Permission.Write)
    const rootSettings: RootSettings = {
      description: `disk '${node.filename}'`,
      permissions: { permissions: wanted, shared: settings.shared ?? Permission.All },
      writethrough: settings.writethrough === true,
    }
    const disk = new Disk(this, node, rootSettings)
    await change.attach(disk, rootSettings.permissions)
    return disk
  }

  #openDescribed(options: Readonly<Record<string, unknown>>, scope: Scope): Promise<Node> {
    return describingFailure(nameOfDefinition(options), () => this.#opener.open(options, scope))
  }
}
