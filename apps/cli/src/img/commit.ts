/**
 * `commit`: writes what an overlay holds down into its backing file, or into a deeper one.
 *
 * The base is opened with the chain, for reading, and made writable then. Its layers above do not share writing, and
 * need not: what they cover is all that is written, so nobody who reads through them sees a change. The base is
 * therefore used with the permission to write unchanged data only, and it grows, if it must, before the copy.
 */
import { type Disk, Flag, type Graph, type Node, Permission } from '@diskgraph/core'
import { resolveReference } from '@diskgraph/core/internal'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { type CopyTarget, copyDisks, workOf } from '../copy/copier.ts'
import { copyFailure } from '../copy/copy-failure.ts'
import { Source } from '../copy/source.ts'
import { ImageOptions, imageGrammar } from '../image-options.ts'
import { CommandError, messageOf } from '../messages.ts'
import { cacheMode, openImage, withGraph } from '../opening.ts'
import { progressFor } from '../progress.ts'
import { sizeArgument } from '../sizes.ts'
import { setReadOnly, unfiltered } from '../storage-nodes.ts'
import type { Terminal } from '../terminal.ts'

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
    await withGraph(terminal, options.secrets, async (graph) => {
      const discard = { discard: 'unmap' }
      const opening = { ...options.opening, filename, writable: true, cache, options: discard, signal: terminal.signal }
      const overlay = await openImage(graph, opening)
      await commitOverlay(graph, overlay, request, terminal)
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

async function commitOverlay(graph: Graph, overlay: Disk, request: Request, terminal: Terminal): Promise<void> {
  const base = await findBase(overlay, request.base)
  const { signal } = terminal
  let writer: Disk | undefined
  const progress = progressFor(terminal, 'commit', request.progress)
  try {
    await setReadOnly(graph, base, false)
    if (base.size < overlay.size) {
      await graph.drained(base, () => base.truncate(overlay.size, { zero: true }, signal))
    }
    writer = await graph.attach(base, { permissions: Permission.ConsistentRead | Permission.WriteUnchanged })
    const { clusterSize = 1 } = await writer.info()
    const settings = {
      source: new Source([overlay], { baseOf: () => base, signal }),
      target: unchangedWrites(writer),
      clusterSize,
      zeroUnit: Math.max(4096, clusterSize),
      targetIsZero: false,
      lanes: 8,
      ...(request.rate > 0 ? { rate: request.rate } : {}),
      signal,
    }
    let total = 0
    if (request.progress || terminal.forPeople) for await (const { length } of workOf(settings)) total += length
    let done = 0
    await copyDisks({
      ...settings,
      onCopied: (length) => {
        done += length
        progress.update(done, total)
      },
    })
    progress.update(1, 1)
    await writer.flush(signal)
    if (!request.keep) await empty(graph, overlay)
  } catch (error) {
    throw copyFailure(error, signal)
  } finally {
    progress.end()
    await writer?.close()
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
    if (name === recorded || name === below.filename || resolved(layer.filename, name) === below.filename) return below
    layer = unfiltered(below)
    below = layer.backing?.node
  }
  throw new CommandError(`Did not find '${name}' in the backing chain of '${overlay.filename}'`)
}

function resolved(image: string, name: string): string | undefined {
  return image.startsWith('json:') ? undefined : resolveReference(image, name)
}

/** Writes to the node of `disk` that need no more than the permission to write unchanged data. */
function unchangedWrites(disk: Disk): CopyTarget {
  return {
    write: (offset, buf, flags, signal) =>
      disk.whileCounted(() => disk.node.write(offset, buf, flags | Flag.Unchanged, signal)),
    writeZeroes: (offset, length, flags, signal) =>
      disk.whileCounted(() => disk.node.writeZeroes(offset, length, flags | Flag.Unchanged, signal)),
  }
}

async function empty(graph: Graph, overlay: Disk): Promise<void> {
  const node = unfiltered(overlay.node)
  const { image } = node
  if (image.makeEmpty === undefined) {
    throw new CommandError(`Could not empty ${overlay.filename}: Operation not supported`)
  }
  try {
    await graph.drained(node, () => (image.makeEmpty as NonNullable<typeof image.makeEmpty>)())
  } catch (error) {
    throw new CommandError(`Could not empty ${overlay.filename}: ${messageOf(error)}`, { cause: error })
  }
}
