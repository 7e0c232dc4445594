/** `bitmap`: persistent dirty bitmaps. */

import type { Disk, Graph } from '@diskgraph/core'
import { addBitmap, clearBitmap, enableBitmap, mergeBitmaps, removeBitmap } from '@diskgraph/jobs'
import { CommandError, hintOf, messageOf, sizeArgument, type Terminal } from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { ImageOptions, imageGrammar } from '../image-options.ts'
import { openImage, withGraph } from '../opening.ts'

const actions = {
  add: { long: 'add', description: 'make a bitmap' },
  remove: { long: 'remove', description: 'delete the bitmap' },
  clear: { long: 'clear', description: 'mark everything as not written' },
  enable: { long: 'enable', description: 'record writes' },
  disable: { long: 'disable', description: 'record no writes' },
  merge: { long: 'merge', argument: 'BITMAP', description: 'add what another bitmap records' },
} as const

const grammar = {
  ...imageGrammar,
  ...actions,
  sourceFile: {
    short: 'b',
    long: 'source-file',
    argument: 'FILE',
    description: 'the image with the bitmaps of --merge',
  },
  sourceFormat: { short: 'F', long: 'source-format', argument: 'FORMAT', description: 'format of that image' },
  granularity: {
    short: 'g',
    long: 'granularity',
    argument: 'SIZE',
    description: 'bytes that a bit of a new bitmap stands for',
  },
} as const

/** One of the actions; `source` is the bitmap of `merge`. */
interface Action {
  readonly kind: keyof typeof actions
  readonly source: string
}

interface Request {
  readonly actions: Action[]
  sourceFile: string | undefined
  sourceFormat: string | undefined
  granularity: number | undefined
}

/** Does all actions, in their order; the first that fails ends it. */
export const bitmap: Command = {
  group: 'change',
  summary: 'manage persistent bitmaps',
  operands: 'FILE BITMAP',
  options: grammar,
  examples: [
    ['bitmap --add disk.qcow2 since-monday', 'record what is written from now on'],
    ['bitmap --merge since-monday --clear disk.qcow2 all', 'several actions, in order'],
    ['bitmap --remove disk.qcow2 since-monday', 'delete one'],
  ],
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    const options = new ImageOptions()
    const request: Request = { actions: [], sourceFile: undefined, sourceFormat: undefined, granularity: undefined }
    const line = new CommandLine(grammar, words)
    for (const option of line) {
      const { name, value } = option
      if (name in actions) request.actions.push({ kind: name as Action['kind'], source: value })
      else if (name === 'granularity')
        request.granularity = sizeArgument(value, 'granularity', terminal, { minimum: 1 })
      else if (name === 'sourceFile' || name === 'sourceFormat') request[name] = value
      else options.take(option)
    }
    const [filename, name] = line.operands
    if (request.actions.length === 0) {
      throw new CommandError('Need at least one of --add, --remove, --clear, --enable, --disable, or --merge')
    }
    checkRequest(request)
    if (line.operands.length !== 2) throw new CommandError('Expecting filename and bitmap name')
    const opening = { ...options.opening, filename: filename as string, writable: true, signal: terminal.signal }
    return withGraph(terminal, options.objects, async (graph) => {
      const disk = await openImage(graph, opening)
      const { sourceFile, sourceFormat: format } = request
      const source =
        sourceFile === undefined
          ? disk
          : await openImage(graph, { filename: sourceFile, format, signal: terminal.signal })
      for (const action of request.actions) await perform({ graph, disk, source, request }, action, name as string)
      if (source !== disk) await source.close()
      await disk.close()
      return 0
    })
  },
}

/** @throws CommandError for options that do not go together. */
function checkRequest({ actions: wanted, granularity, sourceFile, sourceFormat }: Request): void {
  const has = (kind: Action['kind']): boolean => wanted.some((action) => action.kind === kind)
  if (granularity !== undefined && !has('add')) throw new CommandError('granularity only supported with --add')
  if (sourceFormat !== undefined && sourceFile === undefined) throw new CommandError('-F only supported with -b')
  if (sourceFile !== undefined && !has('merge')) {
    throw new CommandError('Merge bitmap source file only supported with --merge')
  }
}

interface Place {
  readonly graph: Graph
  readonly disk: Disk
  readonly source: Disk
  readonly request: Request
}

async function perform({ graph, disk, source, request }: Place, action: Action, name: string): Promise<void> {
  const { node } = disk
  const { granularity } = request
  try {
    await graph.change(async (change) => {
      await change.drain(node)
      if (action.kind === 'add') await addBitmap(graph, node, { name, granularity, persistent: true, change })
      else if (action.kind === 'remove') await removeBitmap(node, name)
      else if (action.kind === 'clear') await clearBitmap(node, name)
      else if (action.kind === 'merge') await mergeBitmaps(node, name, [{ node: source.node, name: action.source }])
      else await enableBitmap(node, name, action.kind === 'enable')
    })
  } catch (error) {
    const hint = hintOf(error)
    throw new CommandError(`Operation ${action.kind} on bitmap ${name} failed: ${messageOf(error)}`, {
      cause: error,
      ...(hint === undefined ? {} : { hint }),
    })
  }
}
