/** `convert` of `diskgraph`: the name of the target says its format, unless `-O` does. */
import { extname } from 'node:path'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { convertGrammar } from '../copy/convert-request.ts'
import { formatAliases } from '../drivers.ts'
import { convert as convertAsTold } from '../img/convert.ts'
import { formatNames } from '../manual/words.ts'
import { CommandError, visibleLine } from '../messages.ts'
import type { Terminal } from '../terminal.ts'
import { typedLine } from './typed-line.ts'

/** As that of `dg-img`, but for the format of the target: there it is raw where nothing else is said. */
export const convert: Command = {
  ...convertAsTold,
  examples: [
    ['convert disk.raw new.qcow2', 'the name says the format: qcow2'],
    ['convert -c disk.qcow2 new.qcow2', 'compressed'],
    ['convert -O raw disk.qcow2 new.disk', 'a name that says nothing'],
    ['convert -l before disk.qcow2 new.img', 'the state of a snapshot'],
    ['convert -B base.qcow2 -F qcow2 overlay.qcow2 new.qcow2', 'what the base does not have'],
    ['convert -O raw disk.qcow2 - | gzip > disk.gz', '- is standard input or standard output'],
  ],
  run(words: readonly string[], terminal: Terminal): Promise<number> {
    const line = new CommandLine(convertGrammar, words)
    const given = new Map([...line].map(({ name, value }) => [name, value]))
    const target = line.operands.length > 1 ? line.operands.at(-1) : undefined
    const isSaid = given.has('targetFormat') || given.has('targetImageOpts') || target === '-'
    if (target === undefined || isSaid) return convertAsTold.run(words, terminal)
    const format = formatOf(target, words, terminal)
    if (!given.has('quiet')) {
      terminal.out(`Target format: ${format}, from the name '${visibleLine(target)}' (-O FORMAT says otherwise)\n`)
    }
    return convertAsTold.run(['-O', format, ...words], terminal)
  },
}

/** The format whose name, or a short form of it, `filename` ends in. */
function formatOf(filename: string, words: readonly string[], terminal: Terminal): string {
  const ending = extname(filename).slice(1).toLowerCase()
  const formats = formatNames(terminal)
  const format = Object.hasOwn(formatAliases, ending) ? (formatAliases[ending] as string) : ending
  if (formats.includes(format)) return format
  throw new CommandError(`cannot tell the format of '${filename}' from its name`, {
    hint: `say it with -O (${formats.join(', ')}): ${typedLine([terminal.program, 'convert', '-O', 'raw', ...words])}`,
  })
}
