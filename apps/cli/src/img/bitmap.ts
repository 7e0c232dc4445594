/** `bitmap`: persistent dirty bitmaps, which no driver has yet. */
import { CommandError, type Terminal } from '@diskgraph/tools'
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
  sourceFile: { short: 'b', argument: 'FILE', description: 'the image with the bitmaps of --merge' },
  sourceFormat: { short: 'F', argument: 'FORMAT', description: 'format of that image' },
  granularity: { short: 'g', argument: 'SIZE', description: 'bytes that a bit of a new bitmap stands for' },
} as const

/** Says that the image's driver stores no bitmaps. Nothing is written. */
export const bitmap: Command = {
  group: 'change',
  summary: 'manage persistent bitmaps (no driver stores them yet)',
  operands: 'FILE BITMAP',
  options: grammar,
  examples: [],
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    const options = new ImageOptions()
    let action: string | undefined
    const line = new CommandLine(grammar, words)
    for (const option of line) {
      if (option.name in actions) action ??= option.name
      else options.take(option)
    }
    if (action === undefined) {
      throw new CommandError('Need at least one of --add, --remove, --clear, --enable, --disable, or --merge')
    }
    const [filename, name] = line.operands
    if (line.operands.length !== 2) throw new CommandError('Expecting filename and bitmap name')
    const request = { ...options.opening, filename: filename as string, signal: terminal.signal }
    return withGraph(terminal, options.objects, async (graph) => {
      const disk = await openImage(graph, request)
      const format = disk.node.driver.name
      await disk.close()
      const hint = 'nothing was changed'
      const reason = `driver '${format}' does not store persistent bitmaps: Operation not supported`
      throw new CommandError(`Operation ${action} on bitmap ${name} failed: ${reason}`, { hint })
    })
  },
}
