/** `rescue`: copies what can be read of a damaged image into a new one, and says what is missing. */

import type { Disk, Graph } from '@diskgraph/core'
import { type MissingRange, type RescueResult, rescue as rescueDisk } from '@diskgraph/jobs'
import {
  CommandError,
  humanSize,
  messageOf,
  reportWarning,
  sizeArgument,
  type Terminal,
  UsageError,
  visible,
  visibleLine,
} from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { copyFailure } from '../copy/copy-failure.ts'
import { type NewTarget, planTarget } from '../copy/new-target.ts'
import { newImageDrivers, newImageHelp } from '../create-options.ts'
import { ImageOptions, imageGrammar, outputGrammar } from '../image-options.ts'
import { asksForHelp, joinOptions } from '../key-values.ts'
import { openImage, withGraph } from '../opening.ts'
import { fromJob, progressFor } from '../progress.ts'
import { typedLine } from './advice.ts'
import { formatOf, targetFormat } from './named-targets.ts'

const grammar = {
  ...imageGrammar,
  ...outputGrammar,
  targetFormat: {
    short: 'O',
    argument: 'FORMAT',
    description: 'format of the new image, where its name does not say it',
  },
  options: { short: 'o', argument: 'OPTIONS', description: "options of the new image; '-o help' lists them" },
  overwrite: { long: 'overwrite', description: 'write over a TARGET that is there already' },
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
    ['rescue -O qcow2 disk.qcow2 saved.img', 'a format that the name does not say'],
  ],
  exitCodes: { 1: 'parts are missing, or nothing could be read at all' },
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    const options = new ImageOptions()
    const wishes: Wishes = { pattern: 0, progress: false, overwrite: false }
    const line = new CommandLine(grammar, words)
    for (const option of line) {
      const { name, value } = option
      if (name === 'targetFormat') wishes.format = value
      else if (name === 'options') wishes.options = joinOptions(wishes.options, value)
      else if (name === 'pattern')
        wishes.pattern = sizeArgument(value, 'pattern', terminal, { minimum: 0, maximum: 255 })
      else if (name === 'progress' || name === 'overwrite') wishes[name] = true
      else options.take(option)
    }
    const [filename, target] = line.operands
    if (wishes.options !== undefined && asksForHelp(wishes.options))
      return showOptions(wishes, target, options, terminal)
    if (filename === undefined || target === undefined || line.operands.length !== 2) {
      throw new UsageError('Expecting the names of a damaged image and of a new one')
    }
    options.checkOutput()
    // Standard output is the array.
    const note = options.json ? terminal.err : terminal.out
    const said = wishes.format ?? (await targetFormat(target, 'rescue', words, { ...terminal, out: note }))
    const wanted = { format: said, filename: target, options: wishes.options }
    return withGraph(terminal, options.objects, async (graph) => {
      // What a check could repair does not keep the image from being read.
      const source = await openImage(graph, { ...options.opening, filename, checking: true, signal: terminal.signal })
      note(`Source format: ${source.node.driver.name}\n`)
      if (source.node.probeGuard !== undefined) checkGuess(filename, words, terminal)
      const result = await save(graph, source, wanted, { ...wishes, json: options.json }, terminal)
      await source.close()
      return result.missing > 0 ? 1 : 0
    })
  },
}

/** What the line asks for, besides the image. */
interface Wishes {
  format?: string
  options?: string
  pattern: number
  progress: boolean
  /** The target may be there already. */
  overwrite: boolean
}

function showOptions(
  { format }: Wishes,
  target: string | undefined,
  { objects }: ImageOptions,
  terminal: Terminal,
): Promise<number> {
  const named = target === undefined ? undefined : formatOf(target, terminal)
  return withGraph(terminal, objects, async (graph) => {
    const drivers = await newImageDrivers(graph, format ?? named ?? 'raw', target)
    terminal.out(newImageHelp(drivers, target, terminal.forPeople))
    return 0
  })
}

/**
 * A format whose signature is destroyed passes for raw data, of which nothing is ever missing.
 * @throws CommandError when the name says another format.
 */
function checkGuess(filename: string, words: readonly string[], terminal: Terminal): void {
  const format = formatOf(filename, terminal)
  if (format === undefined || format === 'raw') {
    reportWarning(
      terminal,
      `${visibleLine(filename)} has the signature of no format: it is read as raw data; -f FORMAT says otherwise`,
    )
    return
  }
  const asRaw = typedLine([terminal.program, 'rescue', '-f', 'raw', ...words])
  throw new CommandError(`'${filename}' has the signature of no format, though its name says ${format}`, {
    hint: `its first bytes may be lost; to save its bytes as they are: ${asRaw}`,
  })
}

/** How the work is told of. */
interface Telling extends Readonly<Wishes> {
  readonly json: boolean
}

async function save(
  graph: Graph,
  source: Disk,
  wanted: { readonly format: string; readonly filename: string; readonly options: string | undefined },
  { pattern, progress: shown, json, overwrite }: Telling,
  terminal: Terminal,
): Promise<RescueResult> {
  const { signal } = terminal
  const target = await planTarget(graph, { ...wanted, size: source.size, activity: 'creating output image' })
  if (target.backingFile !== undefined) throw new CommandError('What is rescued stands on no backing file')
  if (!overwrite && (await target.isThere(graph, signal))) {
    const hint = 'another name keeps it; --overwrite gives it up'
    throw new CommandError(`'${wanted.filename}' is there already`, { hint })
  }
  await target.make(graph, terminal)
  const progress = progressFor(terminal, 'rescue', shown)
  let written: Disk | undefined
  let ranges = 0
  let done = 0
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
    const show = fromJob(progress)
    const onProgress = (state: Parameters<typeof show>[0]): void => {
      done = state.done
      show(state)
    }
    const result = await rescueDisk(source, written, { pattern, targetIsZero, onMissing, onProgress, signal })
    await written.close()
    if (json) terminal.out(ranges === 0 ? '[]\n' : ']\n')
    else terminal.out(summary(result))
    return result
  } catch (error) {
    progress.end()
    if (json) terminal.out(ranges === 0 ? '[]\n' : ']\n')
    if (done === 0) await discard(graph, target, written)
    else await keep(wanted.filename, written, { done, total: source.size }, terminal)
    throw copyFailure(error, signal)
  } finally {
    progress.end()
  }
}

async function discard(graph: Graph, target: NewTarget, written: Disk | undefined): Promise<void> {
  await written?.close().catch(() => undefined)
  await target.remove(graph)
}

/** What was saved may be all that there is: it stays, though the rest could not be written. */
async function keep(
  filename: string,
  written: Disk | undefined,
  { done, total }: { readonly done: number; readonly total: number },
  { program, err }: Terminal,
): Promise<void> {
  const held = `what could be read of the first ${humanSize(done)} of ${humanSize(total)}`
  err(`${program}: ${visibleLine(filename)} is kept: it holds ${held}\n`)
  await written?.close().catch((error: unknown) => {
    err(`${program}: the end of it may be lost: ${visible(messageOf(error))}\n`)
  })
}

function summary({ data, zero, missing }: RescueResult): string {
  const rest = missing === 0 ? 'nothing is missing' : `${humanSize(missing)} are missing`
  return `Read ${humanSize(data)} of data and ${humanSize(zero)} of zeroes; ${rest}\n`
}
