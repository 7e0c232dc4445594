/** `compact`: makes an image file as small as what it holds, in place. */

import { CommandError, humanSize, type Terminal } from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { ImageOptions, imageGrammar, outputGrammar } from '../image-options.ts'
import { openImage, withGraph } from '../opening.ts'
import { progressFor } from '../progress.ts'

const grammar = {
  ...imageGrammar,
  ...outputGrammar,
  progress: { short: 'p', description: 'show progress' },
} as const

/** Says how much shorter the file is. */
export const compact: Command = {
  group: 'change',
  summary: 'make an image file as small as what it holds',
  operands: 'FILE',
  options: grammar,
  examples: [
    ['compact disk.qcow2', 'moves clusters into free ones, and cuts the file'],
    ['compact --output=json disk.qcow2', 'what was moved and freed, in bytes'],
  ],
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    const options = new ImageOptions()
    let progress = false
    const line = new CommandLine(grammar, words)
    for (const option of line) {
      if (option.name === 'progress') progress = true
      else options.take(option)
    }
    const [filename] = line.operands
    if (filename === undefined || line.operands.length !== 1) throw new CommandError('Expecting one image file name')
    options.checkOutput()
    return withGraph(terminal, options.objects, async (graph) => {
      const { signal } = terminal
      const disk = await openImage(graph, { ...options.opening, filename, writable: true, signal })
      const shown = progressFor(terminal, 'compact', progress)
      try {
        const { moved, freed } = await disk.compact({ signal, onProgress: (done, total) => shown.update(done, total) })
        await disk.close()
        if (options.json) terminal.out(`${JSON.stringify({ moved, freed })}\n`)
        else if (freed === 0) terminal.out('There was nothing to free\n')
        else terminal.out(`Freed ${humanSize(freed)} of ${filename}\n`)
        return 0
      } finally {
        shown.end()
      }
    })
  },
}
