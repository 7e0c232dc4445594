/** `rescue`: copies what can be read of a damaged image into a new one, and says what is missing. */

import type { Disk, Graph } from '@diskgraph/core'
import { type MissingRange, type RescueResult, rescue as rescueDisk } from '@diskgraph/jobs'
import { CommandError, humanSize, sizeArgument, type Terminal, UsageError, visible } from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { copyFailure } from '../copy/copy-failure.ts'
import { planTarget } from '../copy/new-target.ts'
import { ImageOptions, imageGrammar, outputGrammar } from '../image-options.ts'
import { joinOptions } from '../key-values.ts'
import { openImage, withGraph } from '../opening.ts'
import { fromJob, progressFor } from '../progress.ts'

const grammar = {
  ...imageGrammar,
  ...outputGrammar,
  targetFormat: { short: 'O', argument: 'FORMAT', description: 'format of the new image; raw unless given' },
  options: { short: 'o', argument: 'OPTIONS', description: 'options of the new image' },
  pattern: {
    long: 'pattern',
    argument: 'BYTE',
    description: 'what is written where nothing could be read; 0 unless given',
  },
  progress: { short: 'p', description: 'show progress' },
} as const

/** Prints the ranges that are missing, as they are found. The exit code is 1 when there are any. */
export const rescue: Command = {
  group: 'change',
  summary: 'copy what can be read of a damaged image',
  operands: 'FILE TARGET',
  options: grammar,
  examples: [
    ['rescue disk.qcow2 saved.raw', 'zeroes where nothing could be read'],
    ['rescue -O qcow2 --output=json disk.qcow2 saved.qcow2', 'the missing ranges as JSON'],
  ],
  exitCodes: { 1: 'parts are missing, or nothing could be read at all' },
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    const options = new ImageOptions()
    let format = 'raw'
    let pattern = 0
    let progress = false
    let newOptions: string | undefined
    const line = new CommandLine(grammar, words)
    for (const option of line) {
      const { name, value } = option
      if (name === 'targetFormat') format = value
      else if (name === 'options') newOptions = joinOptions(newOptions, value)
      else if (name === 'pattern') pattern = sizeArgument(value, 'pattern', terminal, { minimum: 0, maximum: 255 })
      else if (name === 'progress') progress = true
      else options.take(option)
    }
    const [filename, target] = line.operands
    if (filename === undefined || target === undefined || line.operands.length !== 2) {
      throw new UsageError('Expecting the names of a damaged image and of a new one')
    }
    options.checkOutput()
    return withGraph(terminal, options.objects, async (graph) => {
      // What a check could repair does not keep the image from being read.
      const source = await openImage(graph, { ...options.opening, filename, checking: true, signal: terminal.signal })
      const wanted = { format, filename: target, options: newOptions }
      const result = await save(graph, source, wanted, { pattern, progress, json: options.json }, terminal)
      await source.close()
      return result.missing > 0 ? 1 : 0
    })
  },
}

/** How the work is told of. */
interface Telling {
  readonly pattern: number
  readonly progress: boolean
  readonly json: boolean
}

async function save(
  graph: Graph,
  source: Disk,
  wanted: { readonly format: string; readonly filename: string; readonly options: string | undefined },
  { pattern, progress: shown, json }: Telling,
  terminal: Terminal,
): Promise<RescueResult> {
  const { signal } = terminal
  const target = await planTarget(graph, { ...wanted, size: source.size, activity: 'creating output image' })
  if (target.backingFile !== undefined) throw new CommandError('What is rescued stands on no backing file')
  await target.make(graph, terminal)
  const progress = progressFor(terminal, 'rescue', shown)
  let written: Disk | undefined
  let ranges = 0
  const onMissing = ({ offset, length, reason }: MissingRange): void => {
    const member = JSON.stringify({ start: offset, length, reason })
    if (json) terminal.out(`${ranges === 0 ? '[' : ',\n'}${member}`)
    else terminal.out(`missing: ${length} bytes at ${offset}: ${visible(reason)}\n`)
    ranges++
  }
  try {
    const { filename, format } = wanted
    written = await openImage(graph, { filename, format, writable: true, options: target.encryption, signal })
    const targetIsZero = target.isFile && written.node.image.zeroInit !== false
    const onProgress = fromJob(progress)
    const result = await rescueDisk(source, written, { pattern, targetIsZero, onMissing, onProgress, signal })
    await written.close()
    if (json) terminal.out(ranges === 0 ? '[]\n' : ']\n')
    else terminal.out(summary(result))
    return result
  } catch (error) {
    await written?.close().catch(() => undefined)
    await target.remove(graph)
    throw copyFailure(error, signal)
  } finally {
    progress.end()
  }
}

function summary({ data, zero, missing }: RescueResult): string {
  const rest = missing === 0 ? 'nothing is missing' : `${humanSize(missing)} are missing`
  return `Read ${humanSize(data)} of data and ${humanSize(zero)} of zeroes; ${rest}\n`
}
