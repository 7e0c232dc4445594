/** `commit`: writes what an overlay holds down into its backing file, or into a deeper one. */

import { realpathSync } from 'node:fs'
import type { Disk, Node } from '@diskgraph/core'
import { imageFilename, protocolOf, resolveReference } from '@diskgraph/core/internal'
import { commit as commitOverlay, unfiltered } from '@diskgraph/jobs'
import { CommandError, cacheMode, errnoText, sizeArgument, type Terminal } from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { copyFailure } from '../copy/copy-failure.ts'
import { ImageOptions, imageGrammar } from '../image-options.ts'
import { openImage, withGraph } from '../opening.ts'
import { fromJob, progressFor } from '../progress.ts'

const grammar = {
  ...imageGrammar,
  cache: { short: 't', argument: 'CACHE', description: 'cache mode' },
  base: {
    short: 'b',
    argument: 'FILE',
    description: 'the image below into which to write; the backing file unless given',
  },
  keep: { short: 'd', description: 'do not empty the overlay' },
  progress: { short: 'p', description: 'show progress' },
  quiet: { short: 'q', description: 'print errors only' },
  rate: { short: 'r', argument: 'RATE', description: 'bytes a second, at most' },
} as const

/** See the top of the file. */
export const commit: Command = {
  group: 'change',
  summary: 'write an overlay into its base',
  operands: 'FILE',
  options: grammar,
  examples: [['commit overlay.qcow2', 'what was written to the overlay moves into its backing file']],
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    const options = new ImageOptions()
    const request: Request = { cache: 'writeback', base: undefined, keep: false, progress: false, rate: 0 }
    let quiet = false
    const line = new CommandLine(grammar, words)
    for (const option of line) {
      const { name, value } = option
      if (name === 'keep' || name === 'progress') request[name] = true
      else if (name === 'cache' || name === 'base') request[name] = value
      else if (name === 'quiet') quiet = true
      else if (name === 'rate') request.rate = sizeArgument(value, 'rate limit', terminal)
      else options.take(option)
    }
    const filename = options.oneFilename(line.operands)
    const cache = cacheMode(request.cache)
    if (cache === undefined) throw new CommandError(`Invalid cache option: ${request.cache}`)
    options.checkFormat()
    // With -b the overlay keeps its data: only the layer right below it may be taken for equal to it.
    if (request.base !== undefined) request.keep = true
    request.progress &&= !quiet
    await withGraph(terminal, options.objects, async (graph) => {
      const discard = { discard: 'unmap' }
      const opening = { ...options.opening, filename, writable: true, cache, options: discard, signal: terminal.signal }
      const overlay = await openImage(graph, opening)
      await commitInto(overlay, request, terminal)
      await overlay.close()
    })
    if (!quiet) terminal.out('Image committed.\n')
    return 0
  },
}

interface Request {
  cache: string
  /** `-b`. */
  base: string | undefined
  /** The overlay is not emptied. */
  keep: boolean
  progress: boolean
  /** Bytes per second; 0: no limit. */
  rate: number
}

async function commitInto(overlay: Disk, request: Request, terminal: Terminal): Promise<void> {
  const base = await findBase(overlay, request.base)
  const { signal } = terminal
  const told = request.progress || terminal.forPeople
  const progress = progressFor(terminal, 'commit', request.progress)
  try {
    await commitOverlay(overlay, {
      base,
      keep: request.keep,
      speed: request.rate || undefined,
      onProgress: told ? fromJob(progress) : undefined,
      signal,
    })
    progress.update(1, 1)
  } catch (error) {
    const failure = copyFailure(error, signal)
    if (failure === error) throw error
    throw new CommandError(`Block job failed: ${errnoText((failure as CommandError).cause)}`, { cause: failure })
  } finally {
    progress.end()
  }
}

/** The layer to write into: the backing file, or the one below that `name` stands for. */
async function findBase(overlay: Disk, name: string | undefined): Promise<Node> {
  let layer = unfiltered(overlay.node)
  let below = layer.backing?.node
  if (below === undefined) throw new CommandError('Image does not have a backing file')
  if (name === undefined) return below
  while (below !== undefined) {
    const recorded = (await layer.info()).backingFilename
    if (name === recorded || namesSame(name, layer, below)) return below
    layer = unfiltered(below)
    below = layer.backing?.node
  }
  throw new CommandError(`Did not find '${name}' in the backing chain of '${overlay.filename}'`)
}

/** Whether `name`, which is relative to the overlay `layer` if it is a path, is one of the layer `below`. */
function namesSame(name: string, layer: Node, below: Node): boolean {
  if (protocolOf(name) !== undefined || protocolOf(below.filename) !== undefined) return name === below.filename
  if (name === '') return false
  try {
    return realpathSync(resolveReference(imageFilename(layer), name)) === realpathSync(below.filename)
  } catch {
    return false
  }
}
