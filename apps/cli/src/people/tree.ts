/** `tree`: an image and everything below it, drawn. */

import type { Disk, Graph, GraphEdge } from '@diskgraph/core'
import { imageFilename, protocolOf, resolveLiteral, resolveReference } from '@diskgraph/core/internal'
import { imageInfo } from '@diskgraph/qapi'
import { humanSize, messageOf, type Terminal, visibleLine } from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { ImageOptions, imageGrammar, outputGrammar, shareGrammar } from '../image-options.ts'
import { type OpenRequest, openImage, openReason, withGraph } from '../opening.ts'
import { type Style, styleFor } from '../style.ts'
import { table } from './table.ts'

const grammar = {
  ...imageGrammar,
  ...shareGrammar,
  ...outputGrammar,
  json: { long: 'json', description: 'short for --output=json' },
} as const

/** One image in the drawing. */
interface Branch {
  readonly name: string
  readonly format?: string
  readonly virtualSize?: number
  readonly actualSize?: number
  readonly snapshots?: number
  /** What the image is to the one above: `backing`, `data-file`, or the name of a child. */
  readonly role?: string
  /** Why there is nothing below. */
  readonly problem?: string
  readonly below: Branch[]
}

/** Draws the chain. The exit code is 1 when a part of it is missing or loops. */
export const tree: Command = {
  group: 'look',
  summary: 'the backing chain as a drawing',
  operands: 'FILE',
  options: grammar,
  examples: [
    ['tree overlay.qcow2', 'every image below, with its sizes'],
    ['tree --json overlay.qcow2', 'the same for programs'],
  ],
  exitCodes: { 1: 'a part of the chain is missing, or it loops' },
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    const options = new ImageOptions()
    const line = new CommandLine(grammar, words)
    for (const option of line) {
      if (option.name === 'json') options.json = true
      else options.take(option)
    }
    const filename = options.oneFilename(line.operands)
    options.checkFormat()
    const request = { ...options.opening, filename, inspect: true, signal: terminal.signal }
    const top = await withGraph(terminal, options.objects, async (graph) => {
      const disk = await openImage(graph, request)
      return describe(graph, disk, new Map(), request)
    })
    terminal.out(options.json ? `${JSON.stringify(top, undefined, 2)}\n` : draw(top, styleFor(terminal)))
    return isBroken(top) ? 1 : 0
  },
}

/** The branch of an open image, which is closed on the way. `above` has the images above it, by identity. */
async function describe(
  graph: Graph,
  disk: Disk,
  above: ReadonlyMap<string, string>,
  request: OpenRequest,
  role?: string,
): Promise<Branch> {
  const info = await imageInfo(disk.node)
  const identity = identityOf(disk)
  const image = imageFilename(disk.node)
  const branch: Branch = {
    name: info.filename,
    format: info.format,
    virtualSize: info.virtualSize,
    ...(info.actualSize === undefined ? {} : { actualSize: info.actualSize }),
    snapshots: info.snapshots.length,
    ...(role === undefined ? {} : { role }),
    below: [],
  }
  const children = [...disk.node.children.values()].filter((edge) => !isPlainStorage(edge))
  for (const edge of children) branch.below.push(await describeChild(graph, edge, above, request))
  await disk.close()
  const chain = new Map(above).set(identity, info.filename)
  const dataFile = info.specific?.data.dataFile
  if (typeof dataFile === 'string' && !children.some(({ name }) => name === 'dataFile')) {
    const named: Named = {
      role: 'data-file',
      format: 'raw',
      name: dataFile,
      resolve: () => besideImage(image, dataFile),
    }
    branch.below.push(await describeNamed(graph, named, chain, request))
  }
  const { backingFilename: name, backingFormat: format } = info
  if (name === undefined) return branch
  const named: Named = { role: 'backing', format, name, resolve: () => resolveReference(image, name) }
  branch.below.push(await describeNamed(graph, named, chain, request))
  return branch
}

/** The file that an image lies in has the image's name already, and a backing file is followed by its name. */
function isPlainStorage({ name, role, node }: GraphEdge): boolean {
  return role === 'cow' || (name === 'file' && node.driver.kind === 'protocol')
}

async function describeChild(
  graph: Graph,
  { name, node }: GraphEdge,
  above: ReadonlyMap<string, string>,
  request: OpenRequest,
): Promise<Branch> {
  const disk = await graph.attach(node, { permissions: 0 })
  return describe(graph, disk, above, request, name)
}

/** A file that an image names. */
interface Named {
  readonly role: 'backing' | 'data-file'
  readonly format: string | undefined
  /** As it stands in the image. */
  readonly name: string
  /** The name to open it by. */
  readonly resolve: () => string
}

/** The name of a data file is literal: a colon in it makes no protocol. */
function besideImage(image: string, name: string): string {
  const path = resolveLiteral(image, name)
  return protocolOf(image) === undefined && protocolOf(path) !== undefined ? `./${path}` : path
}

async function describeNamed(
  graph: Graph,
  { role, format, name, resolve }: Named,
  chain: ReadonlyMap<string, string>,
  request: OpenRequest,
): Promise<Branch> {
  const known = format === undefined ? {} : { format }
  const broken = (name: string, problem: string): Branch => ({ name, ...known, role, problem, below: [] })
  let filename: string
  try {
    filename = resolve()
  } catch (error) {
    return broken(name, messageOf(error))
  }
  let disk: Disk
  try {
    disk = await openImage(graph, { ...request, filename, format, imageOpts: false })
  } catch (error) {
    if (request.signal?.aborted) throw error
    return broken(filename, reasonOf(error))
  }
  const loop = chain.has(identityOf(disk))
  if (loop) {
    await disk.close()
    return broken(filename, 'the chain loops: this image is above already')
  }
  return describe(graph, disk, chain, request, role)
}

function reasonOf(error: unknown): string {
  const reason = error instanceof Error && error.cause !== undefined ? openReason(error.cause) : messageOf(error)
  return reason.replace(/^Could not open '.*': /, '')
}

/** The string that tells the storage of an image from others. */
function identityOf({ node, filename }: Disk): string {
  const storage = node.children.get('file')?.node
  return node.image.identity ?? storage?.image.identity ?? filename
}

function isBroken({ problem, below }: Branch): boolean {
  return problem !== undefined || below.some(isBroken)
}

const longestName = 60

/** Columns of indentation after which a deep chain goes straight down. */
const deepestIndent = 36

function draw(top: Branch, style: Style): string {
  const rows: string[][] = []
  const add = (branch: Branch, lead: string, below: string): void => {
    rows.push(cells(branch, lead, style))
    branch.below.forEach((child, i) => {
      const last = i === branch.below.length - 1
      const deeper = below.length < deepestIndent ? below + (last ? '   ' : '│  ') : below
      add(child, below + (last ? '└─ ' : '├─ '), deeper)
    })
  }
  add(top, '', '')
  return table(rows, [2, 3])
}

/** A name that leaves room for the columns behind it. */
function shortened(name: string): string {
  if (name.startsWith('json:')) return 'json:{…}'
  return visibleLine(name.length > longestName ? `${name.slice(0, 20)}…${name.slice(21 - longestName)}` : name)
}

function cells(branch: Branch, lead: string, style: Style): string[] {
  const { name, format = '', virtualSize, actualSize, snapshots = 0, role, problem } = branch
  const label = role === undefined || role === 'backing' ? '' : style.dim(`${role}: `)
  const first =
    style.dim(lead) + label + (problem === undefined ? style.bold(shortened(name)) : style.red(shortened(name)))
  if (problem !== undefined) return [first, style.dim(format), '', '', style.red(`✗ ${visibleLine(problem)}`)]
  const taken = snapshots === 0 ? '' : `${snapshots} ${snapshots === 1 ? 'snapshot' : 'snapshots'}`
  return [
    first,
    style.cyan(format),
    virtualSize === undefined ? '' : humanSize(virtualSize),
    actualSize === undefined ? '' : style.dim(`${humanSize(actualSize)} on disk`),
    taken,
  ]
}
