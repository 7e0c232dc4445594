/** `convert`, `create` and `rescue` of `diskgraph`: the name of the new image says its format, unless an option does. */

import { extname } from 'node:path'
import { CommandError, type Terminal, visibleLine } from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { convertGrammar } from '../copy/convert-request.ts'
import { isInstalled } from '../driver-packages.ts'
import { formatAliases, usableDrivers } from '../drivers.ts'
import { convert as convertAsTold } from '../img/convert.ts'
import { create as createAsTold, createGrammar } from '../img/create.ts'
import { formatNames } from '../manual/words.ts'
import { enabling, typedLine } from './advice.ts'

/** As that of `dg-img`, but for the format of the target: there it is raw where nothing else is said. */
export const convert: Command = {
  ...convertAsTold,
  options: {
    ...convertGrammar,
    targetFormat: {
      ...convertGrammar.targetFormat,
      description: 'format of the target, where its name does not say it',
    },
  },
  examples: [
    ['convert disk.raw new.qcow2', 'the name says the format: qcow2'],
    ['convert -c disk.qcow2 new.qcow2', 'compressed'],
    ['convert -O raw disk.qcow2 new.disk', 'a name that says nothing'],
    ['convert -l before disk.qcow2 new.img', 'the state of a snapshot'],
    ['convert -B base.qcow2 -F qcow2 overlay.qcow2 new.qcow2', 'what the base does not have'],
    ['convert -O raw disk.qcow2 - | gzip > disk.gz', '- is standard input or standard output'],
  ],
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    const { given, operands } = read(convertAsTold, words)
    const target = operands.length > 1 ? operands.at(-1) : undefined
    const isSaid = given.has('targetFormat') || given.has('targetImageOpts') || target === '-'
    if (target === undefined || isSaid) return convertAsTold.run(words, terminal)
    const quiet = given.has('quiet') ? { out: () => undefined } : {}
    const format = await targetFormat(target, 'convert', words, { ...terminal, ...quiet })
    return convertAsTold.run(['-O', format, ...words], terminal)
  },
}

/** As that of `dg-img`, but that a name such as `disk.qcow2` makes no raw image; one without an ending does. */
export const create: Command = {
  ...createAsTold,
  options: {
    ...createGrammar,
    format: { ...createGrammar.format, description: 'format of the image, where its name does not say it' },
  },
  examples: [['create new.qcow2 10G', 'the name says the format: qcow2'], ...createAsTold.examples],
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    const { given, operands } = read(createAsTold, words)
    const [target = ''] = operands
    if (given.has('format') || endingOf(target) === '') return createAsTold.run(words, terminal)
    const format = formatOf(target, terminal) ?? (await refuse(target, 'create', '-f', words, terminal))
    return createAsTold.run(['-f', format, ...words], terminal)
  },
}

function read({ options }: Command, words: readonly string[]): { given: Set<string>; operands: readonly string[] } {
  const line = new CommandLine(options, words)
  return { given: new Set([...line].map(({ name }) => name)), operands: line.operands }
}

/** The format that the name of a target says, which is told. @throws CommandError for a name that says none. */
export async function targetFormat(
  target: string,
  command: string,
  words: readonly string[],
  terminal: Terminal,
): Promise<string> {
  const format = formatOf(target, terminal) ?? (await refuse(target, command, '-O', words, terminal))
  terminal.out(`Target format: ${format}, from the name '${visibleLine(target)}' (-O FORMAT says otherwise)\n`)
  return format
}

/** The format whose name, or a short form of it, `filename` ends in. */
export function formatOf(filename: string, terminal: Terminal): string | undefined {
  const ending = endingOf(filename)
  const format = Object.hasOwn(formatAliases, ending) ? (formatAliases[ending] as string) : ending
  return formatNames(terminal).includes(format) ? format : undefined
}

async function refuse(
  filename: string,
  command: string,
  option: string,
  words: readonly string[],
  terminal: Terminal,
): Promise<never> {
  const asRaw = typedLine([terminal.program, command, option, 'raw', ...words])
  const names = await creatableFormats(terminal)
  const hint = isInstalled(endingOf(filename))
    ? enabling(endingOf(filename), [command, ...words], terminal)
    : `say it with ${option} (${names.join(', ')}): ${asRaw}`
  throw new CommandError(`cannot tell the format of '${filename}' from its name`, { hint })
}

/** The formats that new images can have. */
async function creatableFormats(terminal: Terminal): Promise<string[]> {
  const formats = usableDrivers(terminal).filter(({ kind }) => kind === 'format')
  const loaded = await Promise.all(formats.map((one) => ('load' in one ? one.load() : one)))
  return loaded.flatMap(({ name, create }) => (create === undefined ? [] : [name])).sort()
}

function endingOf(filename: string): string {
  return extname(filename).slice(1).toLowerCase()
}
