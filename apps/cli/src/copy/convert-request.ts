/** The command line of `convert`. */
import { type CacheMode, CommandError, cacheMode, sizeArgument, type Terminal } from '@diskgraph/tools'
import { CommandLine } from '../command-line.ts'
import { joinOptions } from '../key-values.ts'
import { addObject, type Objects } from '../objects.ts'
import { snapshotArgument } from '../snapshot-source.ts'
import type { TargetRequest } from './new-target.ts'

/** The options of `convert`. */
export const convertGrammar = {
  object: { long: 'object', argument: 'DEF', description: 'define a secret' },
  imageOpts: { long: 'image-opts', description: 'FILE is a list of options' },
  targetImageOpts: { long: 'target-image-opts', description: 'TARGET is a list of options (with -n)' },
  targetIsZero: { long: 'target-is-zero', description: 'the target reads as zeroes already (with -n)' },
  salvage: { long: 'salvage', description: 'go on where the source cannot be read: zeroes stand there' },
  bitmaps: { long: 'bitmaps', description: 'copy persistent bitmaps, too' },
  skipBrokenBitmaps: { long: 'skip-broken-bitmaps', description: 'leave out bitmaps that are inconsistent' },
  forceShare: { short: 'U', long: 'force-share', description: 'open images that others write to' },
  format: { short: 'f', argument: 'FORMAT', description: 'format of the sources' },
  targetFormat: { short: 'O', argument: 'FORMAT', description: 'format of the target; raw unless given' },
  backingFile: { short: 'B', argument: 'FILE', description: 'backing file of the target: only what differs is copied' },
  backingFormat: { short: 'F', argument: 'FORMAT', description: 'format of the backing file' },
  offload: { short: 'C', description: 'let the system copy where it can' },
  compress: { short: 'c', description: 'compress the data' },
  options: { short: 'o', argument: 'OPTIONS', description: "options of the target; '-o help' lists them" },
  snapshot: { short: 'l', argument: 'SNAPSHOT', description: 'convert the state of a snapshot' },
  sparse: {
    short: 'S',
    argument: 'SIZE',
    description: 'zeroes in runs of so many bytes are not stored; 4k unless given, 0: store all',
  },
  progress: { short: 'p', description: 'show progress' },
  cache: { short: 't', argument: 'CACHE', description: 'cache mode of the target; unsafe unless given' },
  sourceCache: { short: 'T', argument: 'CACHE', description: 'cache mode of the sources' },
  quiet: { short: 'q', description: 'print errors only' },
  skipCreation: { short: 'n', description: 'write into a target that is there' },
  lanes: { short: 'm', argument: 'COUNT', description: 'requests at a time; 8 unless given' },
  unordered: { short: 'W', description: 'write in any order' },
  rate: { short: 'r', argument: 'RATE', description: 'bytes a second, at most' },
} as const

type Name = keyof typeof convertGrammar

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
  objects: Objects = []
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
  const line = new CommandLine(convertGrammar, words)
  for (const { name, value } of line) {
    if (flags.has(name)) Object.assign(request, { [name]: true })
    else if (name === 'object') request.objects = addObject(request.objects, value)
    else if (name === 'snapshot') request.snapshot = snapshotArgument(value, terminal)
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
  if (request.offload && request.salvage) throw new CommandError('Cannot use copy offloading in salvaging mode')
  if (request.imageOpts && request.format !== undefined) {
    throw new CommandError('--image-opts and --format are mutually exclusive')
  }
  if (request.targetImageOpts && request.targetFormat !== undefined) {
    throw new CommandError('--image-opts and --format are mutually exclusive')
  }
}
