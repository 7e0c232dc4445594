/** `create`: makes a new image, empty or on top of a backing file. */

import { BlockError, type Disk, type Graph } from '@diskgraph/core'
import { resolveReference } from '@diskgraph/core/internal'
import {
  CommandError,
  hintOf,
  humanSize,
  sizeArgument,
  type Terminal,
  UsageError,
  visible,
  visibleLine,
} from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import {
  type CreateValues,
  creationReason,
  type NewImageDrivers,
  newImageDefinition,
  newImageDrivers,
  newImageHelp,
  valuesOf,
} from '../create-options.ts'
import { asksForHelp, joinOptions } from '../key-values.ts'
import { addObject, type Objects } from '../objects.ts'
import { openReason, withGraph } from '../opening.ts'
import { isSameFile, refuseOpenFile } from '../storage-nodes.ts'

/** The options of `create`. */
export const createGrammar = {
  object: { long: 'object', argument: 'DEF', description: 'define a secret' },
  format: { short: 'f', argument: 'FORMAT', description: 'format of the image; raw unless given' },
  backingFile: { short: 'b', argument: 'FILE', description: 'the image below: the new one is an overlay on it' },
  backingFormat: { short: 'F', argument: 'FORMAT', description: 'format of the image below' },
  options: { short: 'o', argument: 'OPTIONS', description: "options of the format; '-o help' lists them" },
  quiet: { short: 'q', description: 'print errors only' },
  unsafe: { short: 'u', description: 'do not look at the image below' },
} as const

interface Request {
  format: string
  filename: string
  size: number | undefined
  backingFile: string | undefined
  backingFormat: string | undefined
  options: string | undefined
  quiet: boolean
  /** The backing file is not looked at. */
  unsafe: boolean
  objects: Objects
}

/** Prints QEMU's `Formatting …` line and makes the image. */
export const create: Command = {
  group: 'change',
  summary: 'make an image, empty or over another',
  operands: 'FILE [SIZE]',
  options: createGrammar,
  examples: [
    ['create -f qcow2 new.qcow2 10G', 'an empty image'],
    ['create -f qcow2 -b base.qcow2 -F qcow2 new.qcow2', 'an overlay: shows the base until it is written to'],
    ['create -f qcow2 -o preallocation=metadata new.qcow2 1G', 'an option of the format'],
    ['create -f qcow2 -o help', 'what options the format has'],
  ],
  run(words: readonly string[], terminal: Terminal): Promise<number> {
    const request: Request = {
      format: 'raw',
      filename: '',
      size: undefined,
      backingFile: undefined,
      backingFormat: undefined,
      options: undefined,
      quiet: false,
      unsafe: false,
      objects: [],
    }
    const line = new CommandLine(createGrammar, words)
    for (const { name, value } of line) {
      if (name === 'options') request.options = joinOptions(request.options, value)
      else if (name === 'object') request.objects = addObject(request.objects, value)
      else if (name === 'quiet' || name === 'unsafe') request[name] = true
      else request[name] = value
    }
    const help = request.options !== undefined && asksForHelp(request.options)
    if (line.operands.length === 0 && !help) throw new UsageError('Expecting image file name')
    return withGraph(terminal, request.objects, async (graph) => {
      if (help) {
        const drivers = await newImageDrivers(graph, request.format, line.operands[0])
        terminal.out(newImageHelp(drivers, line.operands[0]))
        return 0
      }
      takeOperands(request, line.operands, terminal)
      await makeImage(graph, request, terminal)
      return 0
    })
  },
}

function takeOperands(request: Request, [filename = '', size, ...rest]: readonly string[], terminal: Terminal): void {
  request.filename = filename
  if (size !== undefined) request.size = sizeArgument(size, 'image size', terminal)
  if (rest.length > 0) throw new UsageError(`Unexpected argument: ${rest[0]}`)
}

async function makeImage(graph: Graph, request: Request, terminal: Terminal): Promise<void> {
  try {
    const drivers = await newImageDrivers(graph, request.format, request.filename)
    const values = await gatherValues(graph, drivers, request, terminal)
    if (!request.quiet && !terminal.forPeople) {
      terminal.out(
        `Formatting '${visibleLine(request.filename)}', fmt=${request.format}${visible(values.describe())}\n`,
      )
    }
    values.checkChoices()
    if (Number(values.get('size')) > Number.MAX_SAFE_INTEGER) throw new BlockError('EFBIG', 'the size is above 2^53')
    const definition = newImageDefinition(drivers, request.filename, values)
    await graph.createUnchecked(definition, { signal: terminal.signal })
    if (!request.quiet && terminal.forPeople) terminal.out(summary(request, values))
  } catch (error) {
    if (terminal.signal.aborted) throw error
    throw creationFailure(request, error)
  }
}

/** What people are told instead of the `Formatting` line. */
function summary({ filename, format }: Request, values: CreateValues): string {
  const backing = values.get('backing_file')
  const above = backing === undefined ? '' : `, on top of ${backing} (${values.get('backing_fmt')})`
  return `${visible(`Created ${filename}: ${format}, ${humanSize(Number(values.get('size')))}${above}`)}\n`
}

/** The options of the image: those given, the backing file, and a size, which may be that of the backing file. */
async function gatherValues(
  graph: Graph,
  drivers: NewImageDrivers,
  request: Request,
  terminal: Terminal,
): Promise<CreateValues> {
  const values = valuesOf(drivers, request)
  if (request.size !== undefined) {
    if (values.get('size') !== undefined) throw new CommandError('The image size must be specified only once')
    values.set('size', request.size)
  }
  refuseOwnName(values, request)
  const backing = values.get('backing_file')
  const size = typeof backing === 'string' ? await backingSize(graph, backing, values, request, terminal) : undefined
  if (values.get('size') === undefined) {
    if (size === undefined) throw new CommandError('Image creation needs a size parameter')
    values.set('size', size)
  }
  return values
}

function refuseOwnName(values: CreateValues, { filename }: Request): void {
  const backing = values.get('backing_file')
  if (backing === '') throw new CommandError('Expected backing file name, got empty string')
  if (backing === filename) throw ownBackingFile()
}

function ownBackingFile(cause?: unknown): CommandError {
  return new CommandError('Error: Trying to create an image with the same filename as the backing file', { cause })
}

/** The size of the backing file, which is opened to see that it can be. Undefined: it is not looked at. */
async function backingSize(
  graph: Graph,
  backing: string,
  values: CreateValues,
  request: Request,
  terminal: Terminal,
): Promise<number | undefined> {
  const format = values.get('backing_fmt') as string | undefined
  const needsFormat = 'Backing file specified without backing format'
  if (request.unsafe) {
    if (format === undefined) throw new CommandError(needsFormat)
    if (isSameFile(request.filename, resolveReference(request.filename, backing))) throw ownBackingFile()
    return undefined
  }
  // A guest may write to it: only its size is of interest.
  const options = { readOnly: true, forceShare: true, ...(format === undefined ? {} : { format }) }
  const settings = { signal: terminal.signal, permissions: 0, keyless: true }
  let disk: Disk
  try {
    disk = await graph.open(resolveReference(request.filename, backing), options, settings)
  } catch (error) {
    throw new CommandError(openReason(error), { cause: error, hint: 'Could not open backing image.' })
  }
  const { size, node } = disk
  try {
    refuseOpenFile(graph, request.filename)
  } catch (error) {
    throw ownBackingFile(error)
  }
  await disk.close()
  if (format !== undefined) return size
  throw new CommandError(needsFormat, { hint: `Detected format of ${node.driver.name}.` })
}

function creationFailure({ filename, format }: Request, error: unknown): CommandError {
  const hint = hintOf(error)
  return new CommandError(`${filename}: ${creationReason(error, format)}`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  })
}
