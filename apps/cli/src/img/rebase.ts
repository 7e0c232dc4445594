/**
 * `rebase`: gives an image another backing file.
 *
 * In safe mode the content stays: where the image has no data of its own, old and new backing file are compared, and
 * what differs is written into the image before the reference changes. Layers that both chains share are not
 * compared. With `-u` only the reference changes.
 */
import { type Disk, type Edge, type Graph, type Node, Permission } from '@diskgraph/core'
import { resolveReference } from '@diskgraph/core/internal'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { copyFailure } from '../copy/copy-failure.ts'
import { copyDifferences } from '../copy/differences.ts'
import { isUnknownDriver } from '../drivers.ts'
import { ImageOptions, imageGrammar, shareGrammar } from '../image-options.ts'
import { CommandError, hintOf, messageOf, UsageError } from '../messages.ts'
import { type CacheMode, cacheMode, openImage, openReason, withGraph } from '../opening.ts'
import { progressFor } from '../progress.ts'
import { refuseSharedStorage, unfiltered } from '../storage-nodes.ts'
import type { Terminal } from '../terminal.ts'

const grammar = {
  ...imageGrammar,
  ...shareGrammar,
  backingFormat: { short: 'F', argument: 'FORMAT', description: 'format of the new backing file' },
  backingFile: { short: 'b', argument: 'FILE', description: "the new backing file; '' for none", required: true },
  unsafe: { short: 'u', description: 'change the name only: old and new have the same content' },
  progress: { short: 'p', description: 'show progress' },
  cache: { short: 't', argument: 'CACHE', description: 'cache mode of the image' },
  sourceCache: { short: 'T', argument: 'CACHE', description: 'cache mode of the backing files' },
  quiet: { short: 'q', description: 'print errors only' },
} as const

interface Request {
  backingFile: string | undefined
  backingFormat: string | undefined
  unsafe: boolean
  progress: boolean
  quiet: boolean
  cache: string
  sourceCache: string
}

/** See the top of the file. */
export const rebase: Command = {
  group: 'change',
  summary: 'put an image on another backing file',
  operands: 'FILE',
  options: grammar,
  examples: [
    ['rebase -b disk.qcow2 -F qcow2 overlay.qcow2', 'what differs is copied: the content stays'],
    ['rebase -u -b ./base.qcow2 -F qcow2 overlay.qcow2', 'the base has moved: only the name changes'],
  ],
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    const options = new ImageOptions()
    const request: Request = {
      backingFile: undefined,
      backingFormat: undefined,
      unsafe: false,
      progress: false,
      quiet: false,
      cache: 'writeback',
      sourceCache: 'writeback',
    }
    const line = new CommandLine(grammar, words)
    for (const option of line) {
      const { name, value } = option
      if (name === 'unsafe' || name === 'progress' || name === 'quiet') request[name] = true
      else if (name === 'backingFile' || name === 'backingFormat' || name === 'cache' || name === 'sourceCache') {
        request[name] = value
      } else options.take(option)
    }
    const filename = options.oneFilename(line.operands)
    if (!request.unsafe && request.backingFile === undefined) {
      throw new UsageError('Must specify backing file (-b) or use unsafe mode (-u)')
    }
    options.checkFormat()
    const cache = requireMode(request.cache, 'cache')
    const sourceCache = requireMode(request.sourceCache, 'source cache')
    return withGraph(terminal, options.secrets, async (graph) => {
      const disk = await openImage(graph, {
        ...options.opening,
        // The image is written to, so it cannot be shared with everybody; its backing files are.
        forceShare: false,
        filename,
        writable: true,
        cache,
        withoutBacking: request.unsafe,
        signal: terminal.signal,
      })
      if (request.backingFormat !== undefined) await checkFormatName(graph, request.backingFormat)
      if (!request.unsafe) await keepContent(graph, disk, request, sourceCache, terminal)
      await changeReference(graph, disk, request)
      await disk.close()
      return 0
    })
  },
}

function requireMode(name: string, what: string): CacheMode {
  const mode = cacheMode(name)
  if (mode === undefined) throw new CommandError(`Invalid ${what} option: ${name}`)
  return mode
}

async function checkFormatName(graph: Graph, format: string): Promise<void> {
  try {
    await graph.registry.get(format)
  } catch (error) {
    if (!isUnknownDriver(error)) throw error
    throw new CommandError(`Invalid format name: '${format}'`, { cause: error })
  }
}

async function keepContent(
  graph: Graph,
  disk: Disk,
  request: Request,
  cache: CacheMode,
  terminal: Terminal,
): Promise<void> {
  const name = request.backingFile as string
  const overlay = unfiltered(disk.node)
  const opened = name === '' ? undefined : await openBacking(graph, disk, request, cache, terminal)
  const progress = progressFor(terminal, 'rebase', request.progress && !request.quiet)
  try {
    const { clusterSize = 65536 } = await overlay.info()
    await copyDifferences({
      disk,
      overlay,
      oldBacking: overlay.backing,
      newBacking: opened?.edge,
      shared: opened?.node,
      unit: clusterSize,
      onProgress: (done, total) => progress.update(done, total),
      signal: terminal.signal,
    })
    progress.update(1, 1)
    await disk.flush(terminal.signal)
  } catch (error) {
    throw copyFailure(error, terminal.signal)
  } finally {
    progress.end()
    await opened?.disk.close()
  }
}

interface OpenedBacking {
  readonly disk: Disk
  readonly edge: Edge
  /** Set when it is a layer of the present chain. */
  readonly node: Node | undefined
}

/** The new backing file: the layer of the chain that it is already, or opened anew. */
async function openBacking(
  graph: Graph,
  disk: Disk,
  request: Request,
  cache: CacheMode,
  terminal: Terminal,
): Promise<OpenedBacking> {
  const name = request.backingFile as string
  const overlay = unfiltered(disk.node)
  try {
    const filename = resolveReference(overlay.filename, name)
    for (let layer = overlay.backing?.node; layer !== undefined; layer = unfiltered(layer).backing?.node) {
      if (layer.filename !== filename) continue
      const backing = await graph.attach(layer, { permissions: Permission.ConsistentRead })
      return { disk: backing, edge: backing.edge, node: layer }
    }
    const { ConsistentRead, WriteUnchanged } = Permission
    const format = request.backingFormat
    const options = {
      ...(format === undefined ? {} : { format }),
      readOnly: true,
      cache: { direct: cache.direct, noFlush: cache.noFlush },
    }
    const settings = { shared: ConsistentRead | WriteUnchanged, signal: terminal.signal }
    const backing = await graph.open(filename, options, settings)
    try {
      refuseSharedStorage(graph, disk, 'shared "write" lock')
    } catch (error) {
      await backing.close()
      throw error
    }
    return { disk: backing, edge: backing.edge, node: undefined }
  } catch (error) {
    const hint = hintOf(error)
    throw new CommandError(`Could not open new backing file '${name}': ${openReason(error)}`, {
      cause: error,
      ...(hint === undefined ? {} : { hint }),
    })
  }
}

async function changeReference(graph: Graph, disk: Disk, request: Request): Promise<void> {
  const { backingFile, backingFormat } = request
  const name = backingFile === '' ? undefined : backingFile
  const node = unfiltered(disk.node)
  const { image } = node
  const attempt = `Could not change the backing file to '${backingFile ?? '(null)'}'`
  if (image.changeBacking === undefined) throw new CommandError(`${attempt}: Operation not supported`)
  if (name !== undefined && backingFormat === undefined) {
    throw new CommandError(`${attempt}: backing format must be specified`)
  }
  const change = image.changeBacking.bind(image)
  try {
    await graph.drained(node, () => change(name, name === undefined ? undefined : backingFormat))
  } catch (error) {
    throw new CommandError(`${attempt}: ${messageOf(error)}`, { cause: error })
  }
}
