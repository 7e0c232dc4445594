/**
 * Conversion from standard input and to standard output, for the front end for people.
 *
 * A regular file behind standard input is used like any file. A pipe has no size and cannot seek: only raw data can
 * come through it, and the target grows while it comes. Raw data goes to standard output as it is read, and images whose
 * driver can write them in one go (`stream`) as they are made; others need to seek, so they are made in a temporary file first.
 */

import { createReadStream, fstatSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Disk, Graph } from '@diskgraph/core'
import { throwIfAborted, validateOptions } from '@diskgraph/core/driver'
import { foreignFooter, foreignFormat, signatureHeadLength, signatureTailLength } from '@diskgraph/core/internal'
import { copy, copyStream } from '@diskgraph/jobs'
import { CommandError, errnoText, type Terminal } from '@diskgraph/tools'
import { findFormat, valuesOf } from '../create-options.ts'
import { openImage } from '../opening.ts'
import { type ConvertRequest, targetOf } from './convert-request.ts'
import { copyFailure } from './copy-failure.ts'
import { planTarget } from './new-target.ts'

/** A name for what stands behind standard input when it is a regular file; undefined for a pipe. */
export function standardInputFile(): string | undefined {
  return fstatSync(0).isFile() ? '/dev/fd/0' : undefined
}

/** Copies raw data from a pipe into a new target. */
export async function convertFromPipe(
  graph: Graph,
  request: ConvertRequest,
  terminal: Terminal,
  input: AsyncIterable<Uint8Array> = process.stdin,
): Promise<void> {
  if (request.sources.length > 1) throw new CommandError('a pipe cannot be concatenated with other images')
  if (request.skipCreation) throw new CommandError('-n needs a source of known size, which a pipe is not')
  if (request.target === '-') throw new CommandError('from a pipe to standard output nothing is converted')
  const format = request.targetFormat ?? 'raw'
  const planned = await planTarget(graph, targetOf(request, 0))
  const { head, stream } = await peek(request.format === undefined ? refusingFooter(input) : input)
  await requireRaw(graph, request, head)
  await planned.make(graph, terminal)
  let target: Disk | undefined
  try {
    const cache = request.targetMode
    target = await openImage(graph, {
      filename: request.target,
      format,
      writable: true,
      cache,
      signal: terminal.signal,
    })
    const { zeroRun: sparseSize, compress: compressed } = request
    await copyStream(stream, target, { sparseSize, compressed, signal: terminal.signal })
    await target.close()
  } catch (error) {
    await target?.close().catch(() => undefined)
    await planned.remove(graph).catch((failure) => graph.warn(`cannot remove the target: ${errnoText(failure)}`))
    throw copyFailure(error, terminal.signal)
  }
}

async function requireRaw(graph: Graph, request: ConvertRequest, head: Uint8Array): Promise<void> {
  const start = head.subarray(0, signatureHeadLength)
  let { format } = request
  if (format === undefined) {
    format = await graph.registry.probe(start, '-')
    if (format === 'raw') format = foreignFormat(start, '-') ?? format
  }
  if (format === 'raw') return
  throw notFromPipe(format)
}

/** The first bytes of `input`, as many as tell its format, and a stream of all of it. */
async function peek(
  input: AsyncIterable<Uint8Array>,
): Promise<{ head: Uint8Array; stream: AsyncIterable<Uint8Array> }> {
  const pieces = input[Symbol.asyncIterator]()
  let head = Buffer.alloc(0)
  while (head.length < signatureHeadLength) {
    const next = await pieces.next()
    if (next.done) break
    head = Buffer.concat([head, next.value])
  }
  async function* all(): AsyncGenerator<Uint8Array> {
    yield head
    yield* { [Symbol.asyncIterator]: () => pieces }
  }
  return { head, stream: all() }
}

/** The same bytes; at their end it fails where that is the end of an image of another format. */
async function* refusingFooter(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let tail = Buffer.alloc(0)
  for await (const piece of input) {
    tail = Buffer.concat([tail, piece.subarray(-signatureTailLength)]).subarray(-signatureTailLength)
    yield piece
  }
  const format = foreignFooter(tail)
  if (format !== undefined) throw notFromPipe(format)
}

function notFromPipe(format: string): CommandError {
  return new CommandError(`an image of format '${format}' cannot be read from a pipe, which cannot seek`, {
    hint: 'save it to a file first; for data that only looks like one, give -f raw',
  })
}

/** Writes the content of `disks` to standard output. */
export function writeRaw(
  disks: readonly Disk[],
  request: ConvertRequest,
  { outBytes, signal }: Terminal,
): Promise<void> {
  const target = {
    // Chunks come in order, and everything is written, so offsets are not needed.
    write: async (_offset: number, buf: Uint8Array): Promise<void> => outBytes(buf),
    writeZeroes: async (): Promise<void> => undefined,
  }
  return copy(disks, target, { sparseSize: 0, parallel: Math.min(request.lanes, 4), signal })
}

/** Writes `disk` to standard output as an image of another format; false where that needs seeking. */
export async function writeImage(
  graph: Graph,
  disk: Disk,
  request: ConvertRequest,
  terminal: Terminal,
): Promise<boolean> {
  const { outBytes, signal } = terminal
  const format = await findFormat(graph, request.targetFormat as string)
  const { backingFile, bitmaps, salvage, skipCreation } = request
  if (format.stream === undefined || backingFile !== undefined || bitmaps || salvage || skipCreation) return false
  const values = valuesOf({ format, storage: undefined }, { format: format.name, options: request.options })
  values.checkChoices()
  const { file: _, ...schemas } = format.createOptions ?? {}
  const { size } = disk
  const pieces = format.stream({
    options: validateOptions(schemas, { size, ...values.toOptions(false) }),
    compressed: request.compress,
    clock: graph.clock,
    random: graph.random,
    signal,
    extents: () => disk.extents({ signal }),
    read: async (offset, buf) => {
      const length = Math.max(0, Math.min(buf.length, size - offset))
      buf.fill(0, length)
      if (length > 0) await disk.read(offset, buf.subarray(0, length), 0, signal)
    },
  })
  if (pieces === undefined) return false
  for await (const piece of pieces) outBytes(piece)
  return true
}

/** Makes a target of another format in a temporary folder by `convert`, and copies it to standard output. */
export async function throughTemporaryFile(
  terminal: Terminal,
  convert: (filename: string) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(process.env.TMPDIR ?? tmpdir(), 'diskgraph-'))
  const filename = join(folder, 'target')
  try {
    await convert(filename)
    for await (const chunk of createReadStream(filename, { highWaterMark: 2 ** 21 })) {
      throwIfAborted(terminal.signal)
      terminal.outBytes(chunk as Buffer)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
