/** `convert`: copies an image, or several behind each other, into a new one of another format. */
import type { Command } from '../command.ts'
import { convertImages } from '../copy/convert.ts'
import { parseConvert } from '../copy/convert-request.ts'
import { withGraph } from '../opening.ts'
import type { Terminal } from '../terminal.ts'

/** Copies what is stored, in large requests, several at a time; zeroes are not stored. */
export const convert: Command = {
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    const request = parseConvert(words, terminal)
    await withGraph(terminal, request.secrets, (graph) => convertImages(graph, request, terminal))
    return 0
  },
}
