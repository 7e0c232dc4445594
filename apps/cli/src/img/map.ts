/** `map`: where the data of an image stands, layer by layer. */

import type { Disk, Node } from '@diskgraph/core'
import { TimeSlice } from '@diskgraph/core/internal'
import { CommandError, sizeArgument, type Terminal, visibleLine } from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { ImageOptions, imageGrammar, outputGrammar, shareGrammar } from '../image-options.ts'
import { openImage, withGraph } from '../opening.ts'

const grammar = {
  ...imageGrammar,
  ...outputGrammar,
  ...shareGrammar,
  format: { short: 'f', long: 'format', argument: 'FORMAT', description: 'format of the image' },
  start: { short: 's', long: 'start-offset', argument: 'OFFSET', description: 'where to begin' },
  length: { short: 'l', long: 'max-length', argument: 'SIZE', description: 'how far to look' },
} as const

/** A run of equal status. `depth` 0 is the image itself, 1 its backing file, and so on. */
interface MapEntry {
  readonly start: number
  readonly length: number
  readonly depth: number
  readonly present: boolean
  readonly zero: boolean
  readonly data: boolean
  readonly offset?: number
  readonly filename?: string
}

/** Prints the runs of an image as a table of its data, or all of them as JSON. */
export const map: Command = {
  group: 'look',
  summary: 'where the data stands',
  operands: 'FILE',
  options: grammar,
  examples: [
    ['map overlay.qcow2', 'data, and which image of the chain holds it'],
    ['map --output=json disk.qcow2', 'zeroes and holes, too'],
  ],
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    const options = new ImageOptions()
    let start = 0
    let length: number | undefined
    const line = new CommandLine(grammar, words)
    for (const option of line) {
      if (option.name === 'start') start = sizeArgument(option.value, 'start offset', terminal)
      else if (option.name === 'length') length = sizeArgument(option.value, 'max length', terminal)
      else options.take(option)
    }
    const filename = options.oneFilename(line.operands)
    options.checkFormat()
    const request = { ...options.opening, filename, signal: terminal.signal }
    await withGraph(terminal, options.objects, async (graph) => {
      const disk = await openImage(graph, request)
      const end = length === undefined ? disk.size : Math.min(disk.size, start + length)
      await print(entries(disk, start, end, terminal.signal), options.json, terminal)
      await disk.close()
    })
    return 0
  },
}

/** Asked for at once, so that an interruption is noticed in time. */
const longestQuery = 2 ** 30

async function* entries(disk: Disk, start: number, end: number, signal: AbortSignal): AsyncGenerator<MapEntry> {
  let run: MapEntry = { start, length: 0, depth: 0, present: false, zero: false, data: false }
  const slice = new TimeSlice(disk.graph.clock, signal)
  for (let at = start; at < end; ) {
    await slice.end()
    const next = await entryAt(disk.node, at, Math.min(end - at, longestQuery), signal)
    at += next.length
    if (run.length > 0 && continues(run, next)) run = { ...run, length: run.length + next.length }
    else {
      if (run.length > 0) yield run
      run = next
    }
  }
  yield run
}

/** The first layer from the top that knows what a reader sees at `start`. */
async function entryAt(top: Node, start: number, longest: number, signal: AbortSignal): Promise<MapEntry> {
  let node = top
  let depth = 0
  let length = longest
  for (;;) {
    const status = await node.blockStatus(start, length, signal)
    length = Math.min(length, status.length)
    const { allocated, data } = status
    const backing = node.filtered ?? node.backing
    const decided = data || (allocated && status.zero)
    if (decided || backing === undefined || start >= backing.size) {
      const zero = status.zero || (!decided && mayHaveBacking(node))
      const host = status.offset === undefined ? {} : { offset: status.offset, filename: hostName(node, status) }
      return { start, length, depth, present: allocated, zero, data, ...host }
    }
    length = Math.min(length, backing.size - start)
    if (node.filtered === undefined) depth++
    node = backing.node
  }
}

/** What no layer has reads as zeroes where there could be a layer below. */
function mayHaveBacking({ driver }: Node): boolean {
  return Object.values(driver.options).some((schema) => schema.type === 'child' && schema.role === 'cow')
}

function hostName(node: Node, { file }: { file?: { filename: string } | undefined }): string {
  return file?.filename ?? node.filename
}

function continues(run: MapEntry, next: MapEntry): boolean {
  if (run.zero !== next.zero || run.data !== next.data || run.present !== next.present) return false
  if (run.depth !== next.depth || run.filename !== next.filename) return false
  return run.offset === undefined ? next.offset === undefined : next.offset === run.offset + run.length
}

async function print(runs: AsyncIterable<MapEntry>, json: boolean, terminal: Terminal): Promise<void> {
  if (json) {
    let before = '['
    for await (const run of runs) {
      terminal.out(before + jsonLine(run))
      before = ',\n'
    }
    terminal.out(']\n')
    return
  }
  terminal.out(`${['Offset', 'Length', 'Mapped to'].map((title) => title.padEnd(16)).join('')}File\n`)
  for await (const run of runs) {
    if (!run.data || run.zero) continue
    if (run.offset === undefined) {
      throw new CommandError('File contains external, encrypted or compressed clusters.')
    }
    const columns = [run.start, run.length, run.offset].map((value) => hexadecimal(value).padEnd(16))
    terminal.out(`${columns.join('')}${visibleLine(run.filename ?? '')}\n`)
  }
}

function hexadecimal(value: number): string {
  return value === 0 ? '0' : `0x${value.toString(16)}`
}

function jsonLine({ start, length, depth, present, zero, data, offset }: MapEntry): string {
  const members = Object.entries({ start, length, depth, present, zero, data, offset })
  const text = members.filter(([, value]) => value !== undefined).map(([name, value]) => `"${name}": ${value}`)
  return `{ ${text.join(', ')}}`
}
