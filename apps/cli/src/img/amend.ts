/** `amend`: changes create options of an image in place. */

import type { Disk, DriverDescriptor, Graph } from '@diskgraph/core'
import { imageFilename, resolveReference, validateAmend } from '@diskgraph/core/internal'
import { CommandError, cacheMode, messageOf, type Terminal, UsageError } from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { amendable, CreateValues, createOptionsOf, findFormat, optionHelp } from '../create-options.ts'
import { ImageOptions, imageGrammar } from '../image-options.ts'
import { asksForHelp, joinOptions, parseKeyValues } from '../key-values.ts'
import { openImage, withGraph } from '../opening.ts'
import { progressFor } from '../progress.ts'

const grammar = {
  ...imageGrammar,
  options: { short: 'o', argument: 'OPTIONS', description: "what to change; '-o help' lists it", required: true },
  cache: { short: 't', argument: 'CACHE', description: 'cache mode' },
  progress: { short: 'p', description: 'show progress' },
  quiet: { short: 'q', description: 'print errors only' },
  force: { long: 'force', description: 'allow what is not safe' },
} as const

/** Changes what `-o` says, or lists with `-o help` what can be changed. */
export const amend: Command = {
  group: 'change',
  summary: "change an image's options",
  operands: 'FILE',
  options: grammar,
  examples: [
    ['amend -o compat=0.10 disk.qcow2', 'a version that old tools read'],
    ['amend -f qcow2 -o help', 'what can be changed'],
  ],
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    const image = new ImageOptions()
    let text: string | undefined
    let cacheName = 'writeback'
    let progress = false
    let quiet = false
    let force = false
    const line = new CommandLine(grammar, words)
    for (const option of line) {
      if (option.name === 'options') text = joinOptions(text, option.value)
      else if (option.name === 'cache') cacheName = option.value
      else if (option.name === 'progress') progress = true
      else if (option.name === 'quiet') quiet = true
      else if (option.name === 'force') force = true
      else image.take(option)
    }
    if (text === undefined) throw new UsageError('Must specify options (-o)')
    const given = text
    const help = asksForHelp(given)
    const { operands } = line
    return withGraph(terminal, image.objects, async (graph) => {
      if (help && image.format !== undefined) {
        terminal.out(amendHelp(await findFormat(graph, image.format), terminal))
        return 0
      }
      if (operands.length !== 1) throw new CommandError('Expecting one image file name')
      const cache = cacheMode(cacheName)
      if (cache === undefined) throw new CommandError(`Invalid cache option: ${cacheName}`)
      const request = { ...image.opening, filename: operands[0] as string, cache, writable: true }
      const disk = await openImage(graph, { ...request, signal: terminal.signal })
      if (help) terminal.out(amendHelp(disk.node.driver, terminal))
      else await amendDisk(graph, disk, given, { force, progress: progress && !quiet }, terminal)
      await disk.close()
      if (terminal.forPeople && !quiet && !help) terminal.out(`Amended ${operands[0]}\n`)
      return 0
    })
  },
}

/** What `-o help` prints. @throws CommandError when the format can change nothing. */
function amendHelp(driver: DriverDescriptor, { forPeople }: Terminal): string {
  const options = amendable(driver)
  if (options.length === 0) throw cannotAmend(driver)
  return `Amend options for '${driver.name}':\n${optionHelp(options, forPeople)}`
}

async function amendDisk(
  graph: Graph,
  disk: Disk,
  text: string,
  { force, progress: wanted }: { force: boolean; progress: boolean },
  terminal: Terminal,
): Promise<void> {
  const { driver, image } = disk.node
  if (image.amend === undefined) throw cannotAmend(driver)
  const pairs = parseKeyValues(text)
  const known = amendable(driver)
  const fixed = createOptionsOf({ format: driver, storage: undefined })
  for (const { key } of pairs) {
    if (known.some(({ name }) => name === key) || !fixed.some(({ name }) => name === key)) continue
    throw new CommandError(`Invalid parameter '${key}'`, { hint: 'This option is only supported for image creation' })
  }
  const values = new CreateValues(known)
  values.take(pairs)
  const compat = values.get('compat')
  const versions = values.find('compat')?.schema
  if (versions?.type === 'enum' && compat !== undefined && !versions.values.includes(String(compat))) {
    throw new CommandError(`Unknown compatibility level ${compat}`)
  }
  values.checkChoices()
  const options = validateAmend(driver.amendOptions ?? driver.createOptions ?? {}, values.toOptions(false))
  await refuseItself(graph, disk, options.dataFile)
  const progress = progressFor(terminal, 'amend', wanted)
  const onProgress = (done: number, total: number): void => progress.update(done, total)
  try {
    await disk.amend({ options, force, signal: terminal.signal, onProgress })
    progress.update(1, 1)
  } catch (error) {
    if (terminal.signal.aborted) throw error
    throw new CommandError(messageOf(error), { cause: error })
  } finally {
    progress.end()
  }
}

/** An image that is its own data file, by whatever name, opens no more. */
async function refuseItself(graph: Graph, { node }: Disk, name: unknown): Promise<void> {
  if (typeof name !== 'string' || name === '') return
  const filename = resolveReference(imageFilename(node), name)
  const other = await openImage(graph, { filename, format: 'raw', forceShare: true }).catch(() => undefined)
  const identity = other?.node.storage?.node.image.identity
  await other?.close()
  if (identity === undefined || identity !== node.storage?.node.image.identity) return
  throw new CommandError(`'${name}' is the image itself, and cannot be its data file`)
}

function cannotAmend({ name }: DriverDescriptor): CommandError {
  return new CommandError(`Format driver '${name}' does not support option amendment`)
}
