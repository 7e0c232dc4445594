/**
 * `inspect`: what an image from elsewhere is and refers to, without opening anything but the file itself.
 *
 * The file is read once through a graph that follows no reference and knows no other storage than plain files: its
 * signatures are looked for, then the one format that fits parses the header. With `--untrusted` the exit code is
 * the verdict: 0 for an image that stands alone and is one thing only, 2 for any other.
 */

import { type Disk, Graph, type ReferencePolicy } from '@diskgraph/core'
import { protocolOf } from '@diskgraph/core/internal'
import { type ImageInfo, imageInfo, kebabKeys } from '@diskgraph/qapi'
import { CommandError, humanSize, messageOf, type Terminal, UsageError, visibleLine } from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { findFormat } from '../create-options.ts'
import { usableDrivers } from '../drivers.ts'
import { outputGrammar } from '../image-options.ts'
import { openImage, openReason } from '../opening.ts'
import { type Style, styleFor } from '../style.ts'
import { type HeaderFacts, readHeaderFacts } from './qcow2-references.ts'
import { containersOf, findSignatures, headLength, tailLength } from './signatures.ts'

const grammar = {
  ...outputGrammar,
  untrusted: { long: 'untrusted', description: 'the exit code is the verdict: 0 for safe, 2 for unsafe' },
  json: { long: 'json', description: 'short for --output=json' },
  format: { short: 'f', long: 'format', argument: 'FORMAT', description: 'format that the image is said to have' },
} as const

const notFollowed = 'references inside images are not followed here'

/** Exit code of `--untrusted` for an image that should not be used. */
const unsafeCode = 2

interface Reference {
  readonly kind: 'backing file' | 'data file' | 'extent'
  readonly filename: string
  readonly format?: string
}

/** What is known of the file. */
interface Report {
  readonly filename: string
  readonly fileSize: number
  readonly signatures: readonly string[]
  readonly format?: string
  readonly virtualSize?: number
  readonly features: unknown
  readonly snapshots: number
  readonly references: readonly Reference[]
  /** Why the image should not be used; empty for a safe one. */
  readonly reasons: readonly string[]
}

/** Prints the report, with the verdict on top. */
export const inspect: Command = {
  group: 'look',
  summary: 'whether an image from elsewhere may be opened',
  operands: 'PATH',
  options: grammar,
  examples: [
    ['inspect disk.qcow2', 'what it is and refers to'],
    ['inspect --untrusted disk.qcow2 && echo safe', 'a script asks first'],
  ],
  exitCodes: { 2: 'with --untrusted: the image should not be used' },
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    let untrusted = false
    let json = false
    let format: string | undefined
    const line = new CommandLine(grammar, words)
    for (const { name, value } of line) {
      if (name === 'untrusted') untrusted = true
      else if (name === 'format') format = value
      else json = name === 'json' || value === 'json'
    }
    const [filename] = line.operands
    if (filename === undefined || line.operands.length !== 1) throw new UsageError('Expecting one image file name')
    const report = await inspectFile(filename, format, terminal)
    terminal.out(json ? `${JSON.stringify(members(report), undefined, 2)}\n` : text(report, styleFor(terminal)))
    return untrusted && report.reasons.length > 0 ? unsafeCode : 0
  },
}

async function inspectFile(filename: string, wanted: string | undefined, terminal: Terminal): Promise<Report> {
  const usable = usableDrivers(terminal).filter(({ name, kind }) => name === 'file' || kind === 'format')
  const parts: Reference[] = []
  const references: ReferencePolicy = ({ child, filename }) => {
    parts.push({ kind: child === 'dataFile' ? 'data file' : 'extent', filename })
    return { code: 'EACCES', reason: notFollowed }
  }
  await using graph = new Graph({ drivers: usable, references, onWarning: () => undefined })
  const signal = terminal.signal
  if (wanted !== undefined) await findFormat(graph, wanted)
  const storage = await openStorage(graph, filename, signal)
  const { size } = storage
  const head = new Uint8Array(Math.min(headLength, size))
  const tail = new Uint8Array(Math.min(tailLength, size))
  await storage.read(0, head, 0, signal)
  await storage.read(size - tail.length, tail, 0, signal)
  await storage.close()
  const signatures = findSignatures(head, tail)
  const image = await describeImage(graph, filename, wanted, signal)
  const features = image.info?.specific === undefined ? {} : kebabKeys(image.info.specific.data)
  const header = readHeaderFacts(head)
  const named = referencesOf(image.info, header, parts)
  const reasons = judge({ signatures, wanted, references: named, size, header, ...image })
  return {
    filename,
    fileSize: size,
    signatures,
    ...formatOf(image.info, signatures),
    features,
    snapshots: image.info?.snapshots.length ?? 0,
    references: named,
    reasons,
  }
}

/** The file as it is, and nothing else: a name with a protocol is no file here. */
async function openStorage(graph: Graph, filename: string, signal: AbortSignal): Promise<Disk> {
  try {
    return await graph.addUnchecked({ driver: 'file', filename, readOnly: true, locking: 'off' }, { signal })
  } catch (error) {
    const hint = "'inspect' looks at files of this machine alone: it takes no name with a protocol, and no options"
    throw new CommandError(`Could not open '${filename}': ${openReason(error)}`, {
      cause: error,
      ...(protocolOf(filename) === undefined ? {} : { hint }),
    })
  }
}

/**
 * What the driver says of the image. It is opened twice: to be looked at, and then as it would be used but for its
 * backing file, so that what the driver does not support comes out.
 */
async function describeImage(
  graph: Graph,
  filename: string,
  format: string | undefined,
  signal: AbortSignal,
): Promise<{ info?: ImageInfo; failure?: string }> {
  // A name such as `http:x` is a file here.
  const path = protocolOf(filename) === undefined ? filename : `./${filename}`
  const request = { filename: path, format, forceShare: true, signal }
  let info: ImageInfo | undefined
  try {
    const disk = await openImage(graph, { ...request, inspect: true })
    info = await imageInfo(disk.node)
    await disk.close()
    await (await openImage(graph, { ...request, withoutBacking: true, keyless: true })).close()
    return { info }
  } catch (error) {
    if (signal.aborted) throw error
    const reason = error instanceof Error && error.cause !== undefined ? openReason(error.cause) : messageOf(error)
    return { ...(info === undefined ? {} : { info }), failure: reason }
  }
}

function formatOf(info: ImageInfo | undefined, signatures: readonly string[]): Pick<Report, 'format' | 'virtualSize'> {
  if (info !== undefined) return { format: info.format, virtualSize: info.virtualSize }
  const [format, ...others] = containersOf(signatures)
  return format === undefined || others.length > 0 ? {} : { format }
}

/** What the header names, and what else the driver wanted to open. */
function referencesOf(
  info: ImageInfo | undefined,
  header: HeaderFacts | undefined,
  parts: readonly Reference[],
): Reference[] {
  const references: Reference[] = []
  if (info?.backingFilename !== undefined) {
    const format = info.backingFormat === undefined ? {} : { format: info.backingFormat }
    references.push({ kind: 'backing file', filename: info.backingFilename, ...format })
  }
  if (header?.dataFile !== undefined) references.push({ kind: 'data file', filename: header.dataFile })
  for (const part of parts) {
    const known = references.some(({ kind, filename }) => kind === part.kind && filename === part.filename)
    if (!known) references.push(part)
  }
  return references
}

interface Evidence {
  readonly signatures: readonly string[]
  readonly wanted: string | undefined
  readonly references: readonly Reference[]
  readonly size: number
  readonly header: HeaderFacts | undefined
  readonly info?: ImageInfo
  readonly failure?: string
}

/** Formats whose references are all looked at. */
const knownFormats: readonly string[] = [
  'raw',
  'qcow2',
  'vdi',
  'vpc',
  'parallels',
  'bochs',
  'cloop',
  'dmg',
  'cow',
  'qcow',
  'qed',
  'vmdk',
  'vhdx',
  'luks',
]

/** Why an image should not be used. */
function judge({ signatures, wanted, references, size, header, info, failure }: Evidence): string[] {
  const reasons: string[] = []
  // That it refers to others is a reason of its own.
  if (failure !== undefined && !failure.endsWith(notFollowed)) reasons.push(`it cannot be opened: ${failure}`)
  const named = wanted ?? info?.format
  const containers = containersOf(signatures, info?.format)
  if (containers.length > 1) reasons.push(`it looks like ${list(containers)} at once`)
  else if (containers.length === 1 && named !== undefined && containers[0] !== named) {
    reasons.push(`it is taken for ${named}, but has the signature of ${containers[0]}`)
  }
  if (named !== 'raw' && containers.length > 0 && signatures.includes('iso9660')) {
    reasons.push(`it looks like ${list([...containers, 'iso9660'])} at once`)
  }
  for (const { kind, filename } of references) reasons.push(`it refers to another file: ${kind} '${filename}'`)
  if (header?.externalData && header.dataFile === undefined) reasons.push('its data stands in another file')
  if (header?.complete === false) reasons.push('its header is longer than what is looked at')
  if (named !== undefined && !knownFormats.includes(named)) {
    reasons.push(`whether format '${named}' refers to other files is not known`)
  }
  if (info?.specific?.data.corrupt === true) reasons.push('it is marked as corrupt')
  if (info !== undefined && info.format !== 'raw' && info.virtualSize > 2 ** 40 * 64) {
    reasons.push(`its virtual size is ${humanSize(info.virtualSize)}, its file has ${humanSize(size)}`)
  }
  return [...new Set(reasons)]
}

function list(names: readonly string[]): string {
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`
}

function members({ reasons, ...report }: Report): Record<string, unknown> {
  return { verdict: reasons.length === 0 ? 'safe' : 'unsafe', reasons, ...report }
}

function text(report: Report, style: Style): string {
  const { filename, reasons, references, signatures, features, format, virtualSize, fileSize, snapshots } = report
  const verdict =
    reasons.length === 0
      ? `${style.green('✔ safe')}: it stands alone and is one thing only`
      : `${style.red('✘ unsafe')}\n${reasons.map((reason) => `  ${style.red('-')} ${visibleLine(reason)}\n`).join('')}`.trimEnd()
  const facts: [string, string][] = [
    ['format', format ?? 'unknown'],
    ['virtual size', virtualSize === undefined ? 'unknown' : `${humanSize(virtualSize)} (${virtualSize} bytes)`],
    ['file size', `${humanSize(fileSize)} (${fileSize} bytes)`],
    ['signatures', signatures.length === 0 ? 'none' : signatures.join(', ')],
    ['snapshots', String(snapshots)],
    ['references', references.length === 0 ? 'none' : references.map(referenceText).join('; ')],
    ...Object.entries(features as Record<string, unknown>).map(([name, value]): [string, string] => [
      name,
      typeof value === 'object' ? JSON.stringify(value) : String(value),
    ]),
  ]
  const lines = facts.map(([name, value]) => `  ${style.dim(`${name}:`.padEnd(18))} ${visibleLine(value)}\n`)
  return `${style.bold(visibleLine(filename))}: ${verdict}\n${lines.join('')}`
}

function referenceText({ kind, filename, format }: Reference): string {
  return `${kind} ${filename}${format === undefined ? '' : ` (${format})`}`
}
