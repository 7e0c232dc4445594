/** The target of a conversion: made with the options that were asked for, and taken away again when that was in vain. */

import { existsSync } from 'node:fs'
import type { Graph } from '@diskgraph/core'
import { resolveReference } from '@diskgraph/core/internal'
import { CommandError, hintOf, type Terminal } from '@diskgraph/tools'
import {
  type CreateValues,
  creationReason,
  type NewImageDrivers,
  type NewImageWords,
  newImageDefinition,
  newImageDrivers,
  valuesOf,
} from '../create-options.ts'
import { refuseOpenFile } from '../storage-nodes.ts'

/** What a new target shall be. */
export interface TargetRequest extends NewImageWords {
  readonly filename: string
  readonly size: number
  readonly compress?: boolean
  /** What is going on, for the message of a failure: `converting raw` unless said otherwise. */
  readonly activity?: string
  /** How many sources there are: only a single one can be put on a backing file. */
  readonly sources?: number
}

/** A target that is ready to be made. */
export class NewTarget {
  readonly drivers: NewImageDrivers
  readonly #request: TargetRequest
  readonly #values: CreateValues
  readonly #existed: boolean
  #made = false

  constructor(request: TargetRequest, drivers: NewImageDrivers, values: CreateValues) {
    this.drivers = drivers
    this.#request = request
    this.#values = values
    this.#existed = this.#path === undefined || existsSync(this.#path)
  }

  /** The backing file that it gets, by `-B` or by `-o`. */
  get backingFile(): string | undefined {
    return this.#values.get('backing_file') as string | undefined
  }

  /** What opening it needs besides: how its data is encrypted, and the secret of its key. */
  get encryption(): Readonly<Record<string, unknown>> {
    const [own, nested] = ['key-secret', 'encrypt.key-secret'].map((name) => this.#values.get(name))
    const format = this.#values.get('encrypt.format') ?? (this.#values.get('encryption') === true ? 'aes' : undefined)
    return {
      ...(own === undefined ? {} : { keySecret: own }),
      ...(format === undefined ? {} : { encrypt: { format, keySecret: nested } }),
    }
  }

  /** @throws CommandError `<name>: error while <activity>: <reason>` */
  async make(graph: Graph, terminal: Terminal): Promise<void> {
    const { filename, format, activity = `converting ${format}` } = this.#request
    try {
      this.#values.checkChoices()
      await this.#refuseOwnInput(graph, terminal.signal)
      await graph.createUnchecked(newImageDefinition(this.drivers, filename, this.#values), { signal: terminal.signal })
      this.#made = true
    } catch (error) {
      if (terminal.signal.aborted) throw error
      const hint = hintOf(error)
      const reason = `${filename}: error while ${activity}: ${creationReason(error, format)}`
      throw new CommandError(reason, { cause: error, ...(hint === undefined ? {} : { hint }) })
    }
  }

  /** A file that is open here would be emptied, and so would one that the new backing file needs. */
  async #refuseOwnInput(graph: Graph, signal: AbortSignal): Promise<void> {
    const path = this.#path
    if (path === undefined || !this.#existed) return
    refuseOpenFile(graph, path)
    const { backingFile } = this
    if (backingFile === undefined) return
    const format = this.#values.get('backing_fmt') as string | undefined
    const options = { readOnly: true, ...(format === undefined ? {} : { format }) }
    const backing = await graph
      .open(resolveReference(this.#request.filename, backingFile), options, { signal, permissions: 0 })
      .catch(() => undefined)
    // One that cannot be opened is told of when the new image is opened on it.
    if (backing === undefined) return
    try {
      refuseOpenFile(graph, path)
    } finally {
      await backing.close()
    }
  }

  /** Whether it is a plain file, which is made anew. */
  get isFile(): boolean {
    return this.#path !== undefined
  }

  /** Whether something stands there already, which {@link make} would write over. */
  async isThere(graph: Graph, signal: AbortSignal): Promise<boolean> {
    if (this.#path !== undefined) return this.#existed
    const { storage, format } = this.drivers
    const options = { format: storage === undefined ? format.name : 'raw', readOnly: true }
    const disk = await graph.open(this.#request.filename, options, { signal, permissions: 0 }).catch(() => undefined)
    await disk?.close()
    return disk !== undefined
  }

  /** The path of a target that is a plain file. */
  get #path(): string | undefined {
    const { storage, format } = this.drivers
    return (storage ?? format).name === 'file' ? this.#request.filename.replace(/^file:/, '') : undefined
  }

  /** Removes the target if it was made here and not there before. */
  async remove(graph: Graph): Promise<void> {
    if (!this.#made || this.#existed) return
    const definition = newImageDefinition(this.drivers, this.#request.filename, this.#values)
    const storage = (definition.file ?? definition) as Readonly<Record<string, unknown>>
    const driver = await graph.registry.get(String(storage.driver))
    await driver.remove?.(storage)
  }
}

/**
 * Reads what was asked for against what the drivers know. Nothing is made yet.
 * @throws CommandError for unknown formats and options, and those that do not go together.
 */
export async function planTarget(graph: Graph, request: TargetRequest): Promise<NewTarget> {
  const drivers = await newImageDrivers(graph, request.format, request.filename)
  const values = valuesOf(drivers, request)
  // Whatever `-o` says of it.
  values.set('size', request.size)
  checkBacking(values, request)
  if (request.compress) checkCompression(drivers, values)
  return new NewTarget(request, drivers, values)
}

function checkBacking(values: CreateValues, { sources = 1 }: TargetRequest): void {
  if (values.get('backing_file') === undefined) return
  if (sources > 1) {
    throw new CommandError(
      'Having a backing file for the target makes no sense when concatenating multiple input images',
    )
  }
  if (values.get('backing_fmt') === undefined) {
    throw new CommandError('Use of backing file requires explicit backing format')
  }
}

function checkCompression({ format }: NewImageDrivers, values: CreateValues): void {
  if (!format.compressedWrites) throw new CommandError('Compression not supported for this file format')
  if (values.get('encryption') === true || values.get('encrypt.format') !== undefined) {
    throw new CommandError('Compression and encryption not supported at the same time')
  }
  if (values.get('data_file') !== undefined) {
    throw new CommandError('Compression and an external data file not supported at the same time')
  }
  const preallocation = values.get('preallocation')
  if (preallocation !== undefined && preallocation !== 'off') {
    throw new CommandError('Compression and preallocation not supported at the same time')
  }
}
