/** `bench`: sends requests of one size, so many at a time, and says how long that took. */

import { type Disk, isBlockError } from '@diskgraph/core'
import { mod } from '@diskgraph/core/driver'
import { TimeSlice } from '@diskgraph/core/internal'
import {
  type CacheMode,
  CommandError,
  cacheMode,
  errnoText,
  parseInteger,
  sizeArgument,
  type Terminal,
} from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { ImageOptions, imageGrammar, shareGrammar } from '../image-options.ts'
import { openFailure, openImage, withGraph } from '../opening.ts'

const grammar = {
  ...imageGrammar,
  ...shareGrammar,
  count: { short: 'c', argument: 'COUNT', description: 'how many requests; 75000 unless given' },
  depth: { short: 'd', argument: 'COUNT', description: 'how many at a time; 64 unless given' },
  flushInterval: { long: 'flush-interval', argument: 'COUNT', description: 'flush after so many requests' },
  aio: { short: 'i', argument: 'threads|native|io_uring', description: 'how requests are made' },
  nativeAio: { short: 'n', description: 'short for -i native' },
  noDrain: { long: 'no-drain', description: 'do not wait for requests before a flush' },
  offset: { short: 'o', argument: 'OFFSET', description: 'where to begin' },
  pattern: { long: 'pattern', argument: 'BYTE', description: 'what to write' },
  quiet: { short: 'q', description: 'print errors only' },
  bufferSize: { short: 's', argument: 'SIZE', description: 'bytes of a request; 4k unless given' },
  stepSize: {
    short: 'S',
    argument: 'SIZE',
    description: 'from one request to the next; 0 means as many bytes as it has',
  },
  cache: { short: 't', argument: 'CACHE', description: 'cache mode' },
  write: { short: 'w', description: 'write, which destroys the content' },
} as const

const largestBuffer = 2 ** 31 - 1

class Request {
  count = 75000
  depth = 64
  offset = 0
  bufferSize = 4096
  /** 0: as long as a request. */
  stepSize = 0
  pattern = 0
  /** After so many writes comes a flush; 0: never. */
  flushInterval = 0
  /** Flushes wait until no write is under way. */
  drain = true
  write = false
  aio = 'threads'
  cache = cacheMode('writeback') as CacheMode
}

/** Runs the requests and prints QEMU's two or three lines. */
export const bench: Command = {
  group: 'other',
  summary: 'measure requests',
  operands: 'FILE',
  options: grammar,
  examples: [
    ['bench -c 1000 disk.qcow2', 'the time that 1000 reads take'],
    ['bench -w -c 100 -d 8 --flush-interval=10 disk.qcow2', 'writes with flushes: the content is gone'],
  ],
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    const options = new ImageOptions()
    const request = new Request()
    const line = new CommandLine(grammar, words)
    for (const option of line) if (!takeOption(request, option.name, option.value, terminal)) options.take(option)
    const filename = options.oneFilename(line.operands)
    checkRequest(request)
    options.checkFormat()
    return withGraph(terminal, options.objects, async (graph) => {
      if (request.aio === 'native' && !request.cache.direct) {
        const reason = 'aio=native was specified, but it requires cache.direct=on, which was not specified.'
        throw openFailure(filename, new CommandError(reason))
      }
      const { write: writable, cache } = request
      const disk = await openImage(graph, { ...options.opening, filename, writable, cache, signal: terminal.signal })
      await runRequests(disk, request, terminal)
      await disk.close()
      return 0
    })
  },
}

/** Takes an option of this command; false for others. */
function takeOption(request: Request, name: keyof typeof grammar, value: string, terminal: Terminal): boolean {
  if (name === 'count') request.count = countOf(value, 'request count')
  else if (name === 'depth') request.depth = countOf(value, 'queue depth', 1)
  else if (name === 'flushInterval') request.flushInterval = countOf(value, 'flush interval')
  else if (name === 'pattern') request.pattern = countOf(value, 'pattern byte', 0, 255)
  else if (name === 'aio') request.aio = aioOf(value)
  else if (name === 'nativeAio') request.aio = 'native'
  else if (name === 'noDrain') request.drain = false
  else if (name === 'write') request.write = true
  else if (name === 'offset') request.offset = sizeArgument(value, 'offset', terminal)
  else if (name === 'bufferSize') request.bufferSize = bytesOf(value, 'buffer size', terminal)
  else if (name === 'stepSize') request.stepSize = bytesOf(value, 'step_size', terminal)
  else if (name === 'cache') request.cache = modeOf(value)
  else return name === 'quiet'
  return true
}

function countOf(value: string, what: string, minimum = 0, maximum: number = 2 ** 31 - 1): number {
  const count = parseInteger(value)
  if (count !== undefined && count >= minimum && count <= maximum) return count
  throw new CommandError(`Invalid ${what} specified`)
}

function bytesOf(value: string, what: string, terminal: Terminal): number {
  return sizeArgument(value, what, terminal, { maximum: largestBuffer })
}

function aioOf(value: string): string {
  if (value === 'threads' || value === 'native' || value === 'io_uring') return value
  throw new CommandError(`Invalid aio option: ${value}`)
}

function modeOf(value: string): CacheMode {
  const mode = cacheMode(value)
  if (mode === undefined) throw new CommandError('Invalid cache mode')
  return mode
}

function checkRequest(request: Request): void {
  if (!request.write && request.flushInterval > 0) {
    throw new CommandError('--flush-interval is only available in write tests')
  }
  if (request.flushInterval > 0 && request.flushInterval < request.depth) {
    throw new CommandError("Flush interval can't be smaller than depth")
  }
}

async function runRequests(disk: Disk, request: Request, terminal: Terminal): Promise<void> {
  const { count, write, bufferSize, depth, offset, flushInterval } = request
  const step = request.stepSize === 0 ? bufferSize : request.stepSize
  terminal.out(
    `Sending ${count} ${write ? 'write' : 'read'} requests, ${bufferSize} bytes each, ${depth} in parallel ` +
      `(starting at offset ${offset}, step size ${step})\n`,
  )
  if (flushInterval > 0) terminal.out(`Sending flush every ${flushInterval} requests\n`)
  const begin = performance.now()
  try {
    await new Run(disk, { ...request, stepSize: step }, terminal.signal).finish()
  } catch (error) {
    if (terminal.signal.aborted || !isBlockError(error)) throw error
    throw new CommandError(`Failed request: ${errnoText(error)}`, { cause: error })
  }
  terminal.out(`Run completed in ${((performance.now() - begin) / 1000).toFixed(3)} seconds.\n`)
}

/** The requests under way. Each slot has a buffer and a function of its own, so that a request makes neither. */
class Run {
  readonly #disk: Disk
  readonly #request: Request
  readonly #signal: AbortSignal
  /** Requests that have not been sent yet. */
  #left: number
  #next: number
  #untilFlush: number
  #inFlight = 0
  #failed = false
  #failure: unknown
  #flushing = false
  /** Slots that wait for a flush. */
  #idle: (() => void)[] = []
  readonly #size: number
  readonly #slice: TimeSlice
  #settle: (() => void) | undefined

  constructor(disk: Disk, request: Request, signal: AbortSignal) {
    this.#disk = disk
    this.#request = request
    this.#signal = signal
    this.#left = request.count
    this.#next = request.offset
    this.#untilFlush = request.flushInterval
    this.#size = disk.size
    this.#slice = new TimeSlice(disk.graph.clock, signal)
  }

  /** Runs all requests; the first failure ends the run when what is under way has ended. */
  async finish(): Promise<void> {
    const settled = new Promise<void>((resolve) => {
      this.#settle = resolve
    })
    const { depth, bufferSize, pattern } = this.#request
    const slots = Math.min(depth, this.#left)
    const memory = Buffer.alloc(bufferSize * slots, pattern)
    for (let i = 0; i < slots; i++) this.#slot(memory.subarray(i * bufferSize, (i + 1) * bufferSize))
    if (slots === 0) return
    await settled
    if (this.#failed) throw this.#failure
  }

  #slot(buf: Buffer): void {
    const send = (): void => {
      if (this.#flushing && this.#request.drain) {
        this.#idle.push(send)
        return
      }
      if (this.#left === 0 || this.#failed) {
        this.#end()
        return
      }
      const turn = this.#slice.end()
      if (turn !== undefined) {
        this.#inFlight++
        turn.then(rested, failed)
        return
      }
      this.#left--
      this.#inFlight++
      const offset = this.#next
      this.#next = mod(offset + this.#request.stepSize, Math.max(1, this.#size))
      const { write } = this.#request
      const sent = write
        ? this.#disk.write(offset, buf, 0, this.#signal)
        : this.#disk.read(offset, buf, 0, this.#signal)
      sent.then(ended, failed)
    }
    const ended = (): void => {
      this.#inFlight--
      if (this.#untilFlush > 0 && --this.#untilFlush === 0) this.#beginFlush()
      else this.#flushIfDrained()
      send()
    }
    const rested = (): void => {
      this.#inFlight--
      this.#flushIfDrained()
      send()
    }
    const failed = (error: unknown): void => {
      this.#inFlight--
      this.#fail(error)
      this.#flushIfDrained()
      send()
    }
    send()
  }

  #beginFlush(): void {
    this.#untilFlush = this.#request.flushInterval
    this.#flushing = true
    if (this.#request.drain) this.#flushIfDrained()
    else this.#flush()
  }

  #flushIfDrained(): void {
    if (this.#flushing && this.#request.drain && this.#inFlight === 0) this.#flush()
  }

  #flush(): void {
    this.#inFlight++
    const ended = (): void => {
      this.#inFlight--
      this.#flushing = false
      const idle = this.#idle
      this.#idle = []
      for (const send of idle) send()
      this.#end()
    }
    this.#disk.flush(this.#signal).then(ended, (error) => {
      this.#fail(error)
      ended()
    })
  }

  #fail(error: unknown): void {
    if (this.#failed) return
    this.#failed = true
    this.#failure = error
  }

  #end(): void {
    if (this.#inFlight === 0 && this.#idle.length === 0) this.#settle?.()
  }
}
