/** Opening images as QEMU's tools do: by name or by options, with a cache mode, shared or not. */

import { type Disk, Graph, isBlockError, type OpenSettings, Permission } from '@diskgraph/core'
import { fromQapi, inQapiSpelling, parseJsonFilename, warningOfGuess } from '@diskgraph/core/internal'
import {
  type CacheMode,
  CommandError,
  cacheMode,
  hintOf,
  messageOf,
  reportWarning,
  type Terminal,
  visible,
} from '@diskgraph/tools'
import { usableDrivers } from './drivers.ts'
import { parseKeyValues, toObject } from './key-values.ts'
import type { Objects } from './objects.ts'

/** An image to be opened. */
export interface OpenRequest {
  readonly filename: string
  /** Without one the image is probed. */
  readonly format?: string | undefined
  /** `filename` is a list of options (`--image-opts`). */
  readonly imageOpts?: boolean
  readonly writable?: boolean
  /** Default: `writeback`. */
  readonly cache?: CacheMode | undefined
  readonly forceShare?: boolean
  /** Look at this image only: nothing that it refers to is opened. */
  readonly inspect?: boolean
  readonly withoutBacking?: boolean
  /** Encrypted images are opened without their secrets, too, to be read by nobody. */
  readonly keyless?: boolean
  /** Opened to be checked: damage that a check can repair does not fail the open. */
  readonly checking?: boolean
  /** Further options of the top node, camelCase. */
  readonly options?: Readonly<Record<string, unknown>>
  readonly standIn?: OpenSettings['standIn']
  readonly signal?: AbortSignal
}

/** QEMU has no limit; a chain this deep opens in seconds and is no accident yet. */
const deepestChain = 2048

/** Warnings that QEMU prints as they are: guessed formats, damage, and the repair of an image in use. */
const barePrefix = /^(WARNING: |qcow2: |ERROR |Leaked |Rebuilding |Repairing )/

/** A graph for one command: it follows the references that QEMU's tools follow, and warns on standard error. */
function commandGraph(terminal: Terminal): Graph {
  return new Graph({
    drivers: usableDrivers(terminal),
    references: 'allow',
    maxDepth: deepestChain,
    onWarning: (message) => {
      if (barePrefix.test(message)) terminal.err(`${visible(message)}\n`)
      else reportWarning(terminal, visible(message))
    },
  })
}

/** Runs `work` with a graph that is closed in the end; errors of late writes come out then. */
export async function withGraph<T>(
  terminal: Terminal,
  objects: Objects,
  work: (graph: Graph) => Promise<T>,
): Promise<T> {
  const graph = commandGraph(terminal)
  let result: T
  try {
    for (const object of objects) await object.addTo(graph)
    result = await work(graph)
  } catch (error) {
    await graph.close().catch(() => undefined)
    throw error
  }
  await graph.close()
  return result
}

/**
 * Opens an image.
 * @throws CommandError `Could not open '<filename>': <reason>`
 */
export async function openImage(graph: Graph, request: OpenRequest): Promise<Disk> {
  if (request.forceShare && request.writable) {
    const reason = 'force-share=on can only be used with read-only images'
    throw new CommandError(`Could not open '${request.filename}': ${reason}`)
  }
  try {
    const disk = await open(graph, request)
    if (disk.node.probeGuard !== undefined && request.writable) graph.warn(warningOfGuess(request.filename))
    return disk
  } catch (error) {
    if (error instanceof CommandError) throw error
    throw openFailure(request.filename, error)
  }
}

function open(graph: Graph, request: OpenRequest): Promise<Disk> {
  const { cache = cacheMode('writeback') as CacheMode } = request
  // What the image's own options say is not taken back by the defaults of the command.
  const own = ownOptions(request)
  const { forceShare } = { ...request.options, ...own }
  if (request.forceShare && (forceShare === false || forceShare === 'off')) {
    throw new CommandError('--force-share/-U conflicts with image options')
  }
  const options = {
    readOnly: request.writable !== true || own.readOnly === true || own.readOnly === 'on',
    autoReadOnly: false,
    ...(request.forceShare ? { forceShare: true } : {}),
    cache: { direct: cache.direct, noFlush: cache.noFlush, ...(own.cache as object | undefined) },
    ...request.options,
  }
  const settings = {
    ...(request.writable ? { permissions: Permission.ConsistentRead | Permission.Write } : {}),
    writethrough: cache.writethrough,
    ...(request.signal === undefined ? {} : { signal: request.signal }),
    ...(request.inspect ? { inspect: true, permissions: 0 } : {}),
    ...(request.withoutBacking ? { withoutBacking: true } : {}),
    ...(request.keyless ? { keyless: true } : {}),
    ...(request.checking ? { check: true } : {}),
    ...(request.standIn === undefined ? {} : { standIn: request.standIn }),
  }
  if (request.imageOpts) return graph.addUnchecked({ ...options, ...own }, settings)
  const { format } = request
  return graph.open(request.filename, { ...options, ...(format === undefined ? {} : { format }) }, settings)
}

/** The error of an image that could not be opened, worded as QEMU's tools word it. */
export function openFailure(filename: string, error: unknown): CommandError {
  return new CommandError(`Could not open '${filename}': ${openReason(error)}`, withHint(error))
}

/** Why an image could not be opened, without the prefix that the graph puts before every such message. */
export function openReason(error: unknown): string {
  if (isBlockError(error) && error.cause instanceof Error) {
    const inner = error.cause.message
    const described = /^Could not open (?:a node|')/.test(error.message) && error.message.endsWith(`': ${inner}`)
    if (described) return messageOf(error.cause)
  }
  return messageOf(error)
}

function withHint(cause: unknown): { cause: unknown; hint?: string } {
  const hint = hintOf(cause)
  return hint === undefined ? { cause } : { cause, hint: inQapiSpelling(hint) }
}

/** The options that an image is named by: those of `--image-opts`, or of a `json:` name. */
function ownOptions({ filename, imageOpts }: OpenRequest): Readonly<Record<string, unknown>> {
  if (imageOpts) return fromQapi(toObject(parseKeyValues(filename, 'file')))
  return filename.startsWith('json:') ? parseJsonFilename(filename) : {}
}
