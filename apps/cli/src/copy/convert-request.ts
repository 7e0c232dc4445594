/** The command line of `convert`. */
import { CommandLine } from '../command-line.ts'
import { joinOptions } from '../key-values.ts'
import { CommandError } from '../messages.ts'
import { addObject, type Secrets } from '../objects.ts'
import { type CacheMode, cacheMode } from '../opening.ts'
import { sizeArgument } from '../sizes.ts'
import type { Terminal } from '../terminal.ts'
import type { TargetRequest } from './new-target.ts'

const grammar = {
  object: { long: 'object', argument: true },
  imageOpts: { long: 'image-opts' },
  targetImageOpts: { long: 'target-image-opts' },
  targetIsZero: { long: 'target-is-zero' },
  salvage: { long: 'salvage' },
  bitmaps: { long: 'bitmaps' },
  skipBrokenBitmaps: { long: 'skip-broken-bitmaps' },
  forceShare: { short: 'U', long: 'force-share' },
  format: { short: 'f', argument: true },
  targetFormat: { short: 'O', argument: true },
  backingFile: { short: 'B', argument: true },
  backingFormat: { short: 'F', argument: true },
  offload: { short: 'C' },
  compress: { short: 'c' },
  options: { short: 'o', argument: true },
  snapshot: { short: 'l', argument: true },
  sparse: { short: 'S', argument: true },
  progress: { short: 'p' },
  cache: { short: 't', argument: true },
  sourceCache: { short: 'T', argument: true },
  quiet: { short: 'q' },
  skipCreation: { short: 'n' },
  lanes: { short: 'm', argument: true },
  unordered: { short: 'W' },
  rate: { short: 'r', argument: true },
} as const

type Name = keyof typeof grammar

const flags = new Set<Name>([
  'imageOpts',
  'targetImageOpts',
  'targetIsZero',
  'salvage',
  'bitmaps',
  'skipBrokenBitmaps',
  'forceShare',
  'offload',
  'compress',
  'progress',
  'quiet',
  'skipCreation',
  'unordered',
])

/** Zeroes in runs of so many bytes are not stored, unless `-S` says otherwise. */
const defaultSparse = 4096
const largestSparse = 16 * 2 ** 20

/** What the words of `convert` ask for. */
export class ConvertRequest {
  secrets: Secrets = {}
  imageOpts = false
  targetImageOpts = false
  targetIsZero = false
  salvage = false
  bitmaps = false
  skipBrokenBitmaps = false
  forceShare = false
  offload = false
  compress = false
  progress = false
  quiet = false
  skipCreation = false
  unordered = false
  format: string | undefined
  targetFormat: string | undefined
  backingFile: string | undefined
  backingFormat: string | undefined
  options: string | undefined
  snapshot: string | undefined
  /** As given; undefined: the default. */
  sparse: number | undefined
  cache = 'unsafe'
  sourceCache = 'writeback'
  lanes = 8
  rate: number | undefined
  sources: readonly string[] = []
  target = ''

  get zeroRun(): number {
    return this.sparse ?? defaultSparse
  }

  /** The unit in which zeroes are found in a target with such clusters; 0: not at all. Clusters are compressed one by one. */
  zeroUnit(clusterSize: number): number {
    if (this.zeroRun === 0) return 0
    return this.compress ? clusterSize : Math.max(this.zeroRun, clusterSize)
  }

  /** The mode of the target. @throws CommandError when there is none of that name. */
  get targetMode(): CacheMode {
    const mode = cacheMode(this.cache)
    if (mode === undefined) throw new CommandError(`Invalid cache option: ${this.cache}`)
    return mode
  }

  /** The mode of the sources. @throws CommandError when there is none of that name. */
  get sourceMode(): CacheMode {
    const mode = cacheMode(this.sourceCache)
    if (mode === undefined) throw new CommandError(`Invalid source cache option: ${this.sourceCache}`)
    return mode
  }
}

/** The target that `request` asks for, of a size that its sources have. */
export function targetOf(request: ConvertRequest, size: number): TargetRequest {
  const { target: filename, targetFormat: format = 'raw', options, backingFile, backingFormat, compress } = request
  return { format, filename, size, options, backingFile, backingFormat, compress, sources: request.sources.length }
}

/** Reads the words behind `convert`. Operands are split into sources and target, but not yet counted. */
export function parseConvert(words: readonly string[], terminal: Terminal): ConvertRequest {
  const request = new ConvertRequest()
  const line = new CommandLine(grammar, words)
  for (const { name, value } of line) {
    if (flags.has(name)) Object.assign(request, { [name]: true })
    else if (name === 'object') request.secrets = addObject(request.secrets, value)
    else if (name === 'options') request.options = joinOptions(request.options, value)
    else if (name === 'sparse') request.sparse = sparseSize(value, terminal)
    else if (name === 'lanes') request.lanes = laneCount(value)
    else if (name === 'rate') request.rate = sizeArgument(value, 'rate limit', terminal)
    else Object.assign(request, { [name]: value })
  }
  const { operands } = line
  request.sources = operands.slice(0, -1)
  request.target = operands[operands.length - 1] ?? ''
  return request
}

function sparseSize(value: string, terminal: Terminal): number {
  const size = sizeArgument(value, 'buffer size for sparse output', terminal)
  if (size % 512 === 0 && size <= largestSparse) return size
  throw new CommandError(
    `Invalid buffer size for sparse output specified. Valid sizes are multiples of 512 up to ${largestSparse}. ` +
      'Select 0 to disable sparse detection (fully allocates output).',
  )
}

function laneCount(value: string): number {
  const count = /^\d+$/.test(value) ? Number(value) : 0
  if (count >= 1 && count <= 16) return count
  throw new CommandError('Invalid number of coroutines. Allowed number of coroutines is between 1 and 16')
}

/** @throws CommandError for options that do not go together. */
export function checkConvert(request: ConvertRequest): void {
  const { skipCreation } = request
  if (request.targetImageOpts && !skipCreation) throw new CommandError('--target-image-opts requires use of -n flag')
  if (skipCreation && request.options !== undefined) {
    throw new CommandError('-o has no effect when skipping image creation')
  }
  if (request.targetIsZero && !skipCreation) throw new CommandError('--target-is-zero requires use of -n flag')
  if (request.skipBrokenBitmaps && !request.bitmaps) {
    throw new CommandError('Use of --skip-broken-bitmaps requires --bitmaps')
  }
  if (request.offload && request.sparse !== undefined) {
    throw new CommandError('Cannot enable copy offloading when -S is used')
  }
  if (request.offload && request.compress) throw new CommandError('Cannot enable copy offloading when -c is used')
  if (request.imageOpts && request.format !== undefined) {
    throw new CommandError('--image-opts and --format are mutually exclusive')
  }
  if (request.targetImageOpts && request.targetFormat !== undefined) {
    throw new CommandError('--image-opts and --format are mutually exclusive')
  }
}
