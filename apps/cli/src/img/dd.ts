/** `dd`: copies part of an image into a new one, block by block; zeroes are written, too. */

import type { Disk, Graph } from '@diskgraph/core'
import { copy } from '@diskgraph/jobs'
import { CommandError, reportError, sizeArgument, type Terminal } from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { copyFailure } from '../copy/copy-failure.ts'
import { planTarget } from '../copy/new-target.ts'
import { ImageOptions, imageGrammar, shareGrammar } from '../image-options.ts'
import { openImage, withGraph } from '../opening.ts'

const grammar = {
  ...imageGrammar,
  ...shareGrammar,
  targetFormat: { short: 'O', argument: 'FORMAT', description: 'format of the output; raw unless given' },
} as const

/** What the `name=value` operands say. */
interface Operands {
  input: string | undefined
  output: string | undefined
  blockSize: number
  /** In blocks; counted from the start of the input, also with `skip`. */
  count: number | undefined
  /** In blocks. */
  skip: number
}

/** See the top of the file. */
export const dd: Command = {
  group: 'change',
  summary: 'copy blocks',
  operands: '[bs=SIZE] [count=BLOCKS] [skip=BLOCKS] if=FILE of=FILE',
  options: grammar,
  examples: [['dd -f raw -O qcow2 bs=1M count=1 if=disk.raw of=start.qcow2', 'the first MiB as an image of its own']],
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    const options = new ImageOptions()
    let targetFormat = 'raw'
    const line = new CommandLine(grammar, words)
    for (const option of line) {
      if (option.name === 'targetFormat') targetFormat = option.value
      else options.take(option)
    }
    const operands = readOperands(line.operands, terminal)
    const { input, output } = operands
    if (input === undefined || output === undefined) {
      throw new CommandError('Must specify both input and output files')
    }
    options.checkFormat()
    await withGraph(terminal, options.objects, async (graph) => {
      const source = await openImage(graph, { ...options.opening, filename: input, signal: terminal.signal })
      await copyBlocks(graph, source, { ...operands, input, output }, targetFormat, terminal)
    })
    return 0
  },
}

function readOperands(words: readonly string[], terminal: Terminal): Operands {
  const operands: Operands = { input: undefined, output: undefined, blockSize: 512, count: undefined, skip: 0 }
  for (const word of words) {
    const equals = word.indexOf('=')
    const name = equals < 0 ? word : word.slice(0, equals)
    const value = equals < 0 ? '' : word.slice(equals + 1)
    if (equals < 0) throw new CommandError(`unrecognized operand ${name}`)
    if (name === 'if') operands.input = value
    else if (name === 'of') operands.output = value
    else if (name === 'bs')
      operands.blockSize = sizeArgument(value, 'bs', terminal, { minimum: 1, maximum: 2 ** 31 - 1 })
    else if (name === 'count') operands.count = sizeArgument(value, 'count', terminal)
    else if (name === 'skip') operands.skip = sizeArgument(value, 'skip', terminal)
    else throw new CommandError(`unrecognized operand ${name}`)
  }
  return operands
}

async function copyBlocks(
  graph: Graph,
  disk: Disk,
  operands: Operands & { readonly input: string; readonly output: string },
  format: string,
  terminal: Terminal,
): Promise<void> {
  const { input, output, blockSize, count, skip } = operands
  const { signal } = terminal
  const length = Math.min(disk.size, (count ?? Number.POSITIVE_INFINITY) * blockSize)
  const skipped = skip * blockSize
  if (disk.size < skipped) reportError(terminal, `${input}: cannot skip to specified offset`)
  const size = Math.max(0, length - skipped)
  const wanted = { format, filename: output, size, options: undefined, activity: 'creating output image' }
  const target = await planTarget(graph, wanted).catch(withoutFormatName)
  await target.make(graph, terminal)
  let written: Disk | undefined
  try {
    written = await openImage(graph, { filename: output, format, writable: true, signal })
    await copy(disk, written, { skip: Math.min(skipped, disk.size), length: size, sparseSize: 0, signal })
    await written.close()
  } catch (error) {
    await written?.close().catch(() => undefined)
    await target.remove(graph)
    throw copyFailure(error, signal)
  }
}

/** Of a format that there is not, this command does not say the name. */
function withoutFormatName(error: unknown): never {
  if (error instanceof CommandError && error.message.startsWith('Unknown file format ')) {
    throw new CommandError('Unknown file format', { cause: error })
  }
  throw error
}
