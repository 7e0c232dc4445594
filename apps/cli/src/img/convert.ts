/** `convert`: copies an image, or several behind each other, into a new one of another format. */
import type { Terminal } from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { convertImages } from '../copy/convert.ts'
import { convertGrammar, parseConvert } from '../copy/convert-request.ts'
import { withGraph } from '../opening.ts'

/** Copies what is stored, in large requests, several at a time; zeroes are not stored. */
export const convert: Command = {
  group: 'change',
  summary: 'copy into a new image, of another format',
  operands: 'FILE... TARGET',
  options: convertGrammar,
  examples: [
    ['convert -O qcow2 disk.raw new.qcow2', 'a raw image as qcow2'],
    ['convert -c -O qcow2 disk.qcow2 new.qcow2', 'compressed'],
    ['convert -O raw -l before disk.qcow2 new.raw', 'the state of a snapshot'],
    ['convert -O qcow2 -B base.qcow2 -F qcow2 overlay.qcow2 new.qcow2', 'what the base does not have'],
  ],
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    const request = parseConvert(words, terminal)
    await withGraph(terminal, request.objects, (graph) => convertImages(graph, request, terminal))
    return 0
  },
}
