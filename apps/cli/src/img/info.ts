/** `info`: what an image is, without opening anything that it refers to. */

import type { Graph } from '@diskgraph/core'
import { type ImageInfo, imageInfo, infoMembers } from '@diskgraph/qapi'
import { CommandError, infoText, qemuJsonPieces, type Terminal } from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { ImageOptions, imageGrammar, outputGrammar, shareGrammar } from '../image-options.ts'
import { type OpenRequest, openImage, withGraph } from '../opening.ts'

const grammar = {
  ...imageGrammar,
  ...outputGrammar,
  ...shareGrammar,
  format: { short: 'f', long: 'format', argument: 'FORMAT', description: 'format of the image' },
  backingChain: { long: 'backing-chain', description: 'tell of every image below, too' },
}

/** Prints QEMU's `info`, for one image or for its whole backing chain. */
export const info: Command = {
  group: 'look',
  summary: 'size, format, backing file, snapshots',
  operands: 'FILE',
  options: grammar,
  examples: [
    ['info disk.qcow2', 'what it is'],
    ['info --output=json disk.qcow2', 'the same for programs'],
    ['info --backing-chain overlay.qcow2', 'the images below, too'],
  ],
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    const options = new ImageOptions()
    let wholeChain = false
    const line = new CommandLine(grammar, words)
    for (const option of line) {
      if (option.name === 'backingChain') wholeChain = true
      else options.take(option)
    }
    const filename = options.oneFilename(line.operands)
    options.checkFormat()
    const request = { ...options.opening, filename, inspect: true, signal: terminal.signal }
    const infos = await withGraph(terminal, options.objects, (graph) => collect(graph, request, wholeChain))
    if (options.json) {
      const members = infos.map(infoMembers)
      for (const piece of qemuJsonPieces(wholeChain ? members : members[0])) terminal.out(piece)
      terminal.out('\n')
    } else {
      for (const [index, one] of infos.entries()) {
        if (index > 0) terminal.out('\n')
        for (const piece of infoText(one)) terminal.out(piece)
      }
    }
    return 0
  },
}

/** The facts of an image and, if the chain is wanted, of each image below. Every image is opened alone. */
async function collect(graph: Graph, request: OpenRequest, wholeChain: boolean): Promise<ImageInfo[]> {
  const infos: ImageInfo[] = []
  const seen = new Set<string>()
  let next: OpenRequest | undefined = request
  while (next !== undefined) {
    if (seen.has(next.filename)) throw new CommandError(`Backing file '${next.filename}' creates an infinite loop.`)
    seen.add(next.filename)
    const disk = await openImage(graph, next)
    const found = await imageInfo(disk.node)
    await disk.close()
    infos.push(found)
    next = wholeChain ? below(found, request) : undefined
  }
  return infos
}

function below(found: ImageInfo, request: OpenRequest): OpenRequest | undefined {
  const { backingFilename, fullBackingFilename, backingFormat } = found
  if (backingFilename === undefined) return undefined
  if (fullBackingFilename === undefined) {
    throw new CommandError(`Could not determine the backing file name of '${found.filename}'`)
  }
  return { ...request, filename: fullBackingFilename, format: backingFormat, imageOpts: false }
}
