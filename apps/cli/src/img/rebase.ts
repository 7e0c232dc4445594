/**
 * `rebase`: gives an image another backing file. In safe mode the content stays; with `-u` only the reference changes.
 */

import { type Disk, type Graph, Permission } from '@diskgraph/core'
import { imageFilename, resolveReference } from '@diskgraph/core/internal'
import { type BackingReference, changeBacking, rebase as rebaseOnto, unfiltered } from '@diskgraph/jobs'
import { type CacheMode, CommandError, cacheMode, hintOf, type Terminal, UsageError } from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { copyFailure } from '../copy/copy-failure.ts'
import { isUnknownDriver } from '../drivers.ts'
import { ImageOptions, imageGrammar, shareGrammar } from '../image-options.ts'
import { openImage, openReason, withGraph } from '../opening.ts'
import { fromJob, progressFor } from '../progress.ts'
import { refuseSharedStorage } from '../storage-nodes.ts'

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
    return withGraph(terminal, options.objects, async (graph) => {
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
      if (request.unsafe) await changeBacking(disk, referenceOf(request))
      else await rebaseSafely(graph, disk, request, sourceCache, terminal)
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

/** What the image is to record. */
function referenceOf({ backingFile, backingFormat }: Request): BackingReference {
  return { filename: backingFile, format: backingFormat }
}

async function rebaseSafely(
  graph: Graph,
  disk: Disk,
  request: Request,
  cache: CacheMode,
  terminal: Terminal,
): Promise<void> {
  const { signal } = terminal
  const backing = request.backingFile === '' ? undefined : await openBacking(graph, disk, request, cache, terminal)
  const progress = progressFor(terminal, 'rebase', request.progress && !request.quiet, 2)
  try {
    const onProgress = fromJob(progress)
    await rebaseOnto(disk, backing, referenceOf(request), { onProgress, signal })
  } catch (error) {
    throw copyFailure(error, signal)
  } finally {
    progress.end()
    await backing?.close()
  }
}

/** The new backing file: the layer of the chain that it is already, or opened anew. */
async function openBacking(
  graph: Graph,
  disk: Disk,
  request: Request,
  cache: CacheMode,
  terminal: Terminal,
): Promise<Disk> {
  const name = request.backingFile as string
  const overlay = unfiltered(disk.node)
  try {
    const filename = resolveReference(imageFilename(overlay), name)
    for (let layer = overlay.backing?.node; layer !== undefined; layer = unfiltered(layer).backing?.node) {
      if (layer.filename !== filename) continue
      return await graph.attach(layer, { permissions: Permission.ConsistentRead })
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
    return backing
  } catch (error) {
    const hint = hintOf(error)
    throw new CommandError(`Could not open new backing file '${name}': ${openReason(error)}`, {
      cause: error,
      ...(hint === undefined ? {} : { hint }),
    })
  }
}
