/** `measure`: how large the file of a new image would be. */

import type { Disk, Extent, Graph, Measurement } from '@diskgraph/core'
import { type MeasureRequest, validateOptions } from '@diskgraph/core/driver'
import { CommandError, messageOf, qemuJson, reportError, sizeArgument, type Terminal } from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { CreateValues, createOptionsOf, findFormat } from '../create-options.ts'
import { ImageOptions, imageGrammar, outputGrammar, shareGrammar } from '../image-options.ts'
import { joinOptions, parseKeyValues } from '../key-values.ts'
import { openImage, withGraph } from '../opening.ts'
import { loadSnapshot, snapshotArgument } from '../snapshot-source.ts'

const grammar = {
  ...imageGrammar,
  ...outputGrammar,
  ...shareGrammar,
  target: { short: 'O', argument: 'FORMAT', description: 'format of the image that would be made; raw unless given' },
  options: { short: 'o', argument: 'OPTIONS', description: 'options that it would have' },
  size: { long: 'size', argument: 'SIZE', description: 'virtual size, when there is no image to convert' },
  snapshot: { short: 'l', argument: 'SNAPSHOT', description: 'measure the state of a snapshot' },
} as const

interface Question {
  target: string
  options: string | undefined
  size: number | undefined
  snapshot: string | undefined
}

/** Prints the size that an image takes at least, and with everything written. */
export const measure: Command = {
  group: 'look',
  summary: 'how large an image would be',
  operands: '[FILE]',
  options: grammar,
  examples: [
    ['measure -O qcow2 disk.raw', 'the room that a conversion needs'],
    ['measure -O qcow2 --size 10G', 'a new image'],
  ],
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    const image = new ImageOptions()
    const question: Question = { target: 'raw', options: undefined, size: undefined, snapshot: undefined }
    const line = new CommandLine(grammar, words)
    for (const option of line) {
      const { name, value } = option
      if (name === 'options') question.options = joinOptions(question.options, value)
      else if (name === 'size') question.size = sizeArgument(value, 'image size', terminal)
      else if (name === 'target') question.target = value
      else if (name === 'snapshot') question.snapshot = snapshotArgument(value, terminal)
      else {
        image.take(option)
        if (name === 'output') image.checkOutput()
      }
    }
    const filename = checkOperands(line.operands, question, image)
    return withGraph(terminal, image.objects, async (graph) => {
      const disk =
        filename === undefined
          ? undefined
          : await openImage(graph, { ...image.opening, filename, signal: terminal.signal })
      if (disk !== undefined && question.snapshot !== undefined) await loadSnapshot(disk, question.snapshot)
      const result = await answer(graph, question, disk, terminal)
      await disk?.close()
      if (image.json) terminal.out(`${qemuJson(members(result))}\n`)
      else terminal.out(text(result))
      return 0
    })
  },
}

function checkOperands(
  [filename, ...more]: readonly string[],
  { size, snapshot }: Question,
  { imageOpts, format }: ImageOptions,
): string | undefined {
  if (more.length > 0) throw new CommandError('At most one filename argument is allowed.')
  if (filename === undefined && (imageOpts || format !== undefined || snapshot !== undefined)) {
    throw new CommandError('--image-opts, -f, and -l require a filename argument.')
  }
  if (filename === undefined && size === undefined) {
    throw new CommandError('Either --size N or one filename must be specified.')
  }
  if (filename !== undefined && size !== undefined) {
    throw new CommandError('--size N cannot be used together with a filename.')
  }
  return filename
}

async function answer(
  graph: Graph,
  { target, options, size }: Question,
  disk: Disk | undefined,
  terminal: Terminal,
): Promise<Measurement> {
  const format = await findFormat(graph, target)
  const storage = format.kind === 'protocol' ? undefined : await graph.registry.get('file')
  if (format.createOptions === undefined) {
    throw new CommandError(`Format driver '${target}' does not support image creation`)
  }
  const values = new CreateValues(createOptionsOf({ format, storage }))
  try {
    if (options !== undefined) values.take(parseKeyValues(options))
  } catch (error) {
    reportError(terminal, messageOf(error))
    throw new CommandError(`Invalid options for file format '${target}'`, { cause: error })
  }
  values.checkChoices()
  if (format.measure === undefined) {
    throw new CommandError(`Block driver '${target}' does not support size measurement`)
  }
  const total = disk?.size ?? (size as number)
  if (!Number.isSafeInteger(total)) {
    throw new CommandError('The image size is too large (try using a larger cluster size)')
  }
  const { file: _, ...schemas } = format.createOptions
  const given = validateOptions(schemas, { size: total, ...values.toOptions(false) })
  return format.measure({
    options: given,
    size: total,
    ...(disk && { extents: measured(disk, terminal.signal), ...storedBitmaps(disk) }),
  })
}

/** The bitmaps that a conversion could copy. */
function storedBitmaps({ node }: Disk): Pick<MeasureRequest, 'bitmaps'> {
  if (node.image.bitmaps?.supported !== true) return {}
  const stored = node.dirtyBitmaps.filter(({ persistent }) => persistent)
  return { bitmaps: stored.map(({ name, granularity }) => ({ name: name as string, granularity })) }
}

function measured(disk: Disk, signal: AbortSignal): AsyncIterable<Extent> {
  return disk.extents({ signal })
}

function members({ required, fullyAllocated, bitmaps }: Measurement): Record<string, unknown> {
  return { bitmaps, required, 'fully-allocated': fullyAllocated }
}

function text({ required, fullyAllocated, bitmaps }: Measurement): string {
  const last = bitmaps === undefined ? '' : `bitmaps size: ${bitmaps}\n`
  return `required size: ${required}\nfully allocated size: ${fullyAllocated}\n${last}`
}
