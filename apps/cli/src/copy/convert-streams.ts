/**
 * Conversion from standard input and to standard output, for the front end for people.
 *
 * A regular file behind standard input is used like any file. A pipe has no size and cannot seek: only raw data can
 * come through it, and the target grows while it comes. Raw data goes to standard output as it is read; other formats
 * need to seek, so they are made in a temporary file first.
 */
import { createReadStream, fstatSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Disk, Flag, type Graph, isBlockError } from '@diskgraph/core'
import { alignUp, throwIfAborted } from '@diskgraph/core/driver'
import { foreignFooter, foreignFormat, signatureHeadLength, signatureTailLength } from '@diskgraph/core/internal'
import { CommandError, errnoText } from '../messages.ts'
import { openImage } from '../opening.ts'
import type { Terminal } from '../terminal.ts'
import { type ConvertRequest, targetOf } from './convert-request.ts'
import { chunkLength, copyDisks, TargetError } from './copier.ts'
import { copyFailure } from './copy-failure.ts'
import { planTarget } from './new-target.ts'
import { Source } from './source.ts'
import { findRuns } from './zero-scan.ts'

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
  const received = chunksOf(input, terminal.signal)
  const chunks = request.format === undefined ? refusingFooter(received) : received
  const first = await chunks.next()
  await requireRaw(graph, request, first.done ? new Uint8Array() : first.value)
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
    await fill(target, request, first, chunks, terminal.signal)
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

/** The bytes of `input` in chunks of full length, but for the last. A chunk is valid until the one after next. */
async function* chunksOf(input: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Buffer> {
  const buffers = [Buffer.allocUnsafeSlow(chunkLength), Buffer.allocUnsafeSlow(chunkLength)]
  let current = 0
  let filled = 0
  for await (const piece of input) {
    throwIfAborted(signal)
    for (let at = 0; at < piece.length; ) {
      const taken = Math.min(piece.length - at, chunkLength - filled)
      ;(buffers[current] as Buffer).set(piece.subarray(at, at + taken), filled)
      at += taken
      filled += taken
      if (filled < chunkLength) continue
      yield buffers[current] as Buffer
      current = 1 - current
      filled = 0
    }
  }
  if (filled > 0) yield (buffers[current] as Buffer).subarray(0, filled)
}

/** The same chunks; at their end it fails where that is the end of an image of another format. */
async function* refusingFooter(chunks: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  let tail = Buffer.alloc(0)
  for await (const chunk of chunks) {
    tail = Buffer.concat([tail, chunk.subarray(-signatureTailLength)]).subarray(-signatureTailLength)
    yield chunk
  }
  const format = foreignFooter(tail)
  if (format !== undefined) throw notFromPipe(format)
}

function notFromPipe(format: string): CommandError {
  return new CommandError(`an image of format '${format}' cannot be read from a pipe, which cannot seek`, {
    hint: 'save it to a file first; for data that only looks like one, give -f raw',
  })
}

/** Writes all chunks; each while the next one is read. */
async function fill(
  target: Disk,
  request: ConvertRequest,
  first: IteratorResult<Buffer>,
  chunks: AsyncGenerator<Buffer>,
  signal: AbortSignal,
): Promise<void> {
  const { clusterSize = 1 } = await target.info()
  const unit = request.zeroUnit(clusterSize)
  const flags = request.compress ? Flag.Compressed : 0
  let offset = 0
  let next = first
  while (!next.done) {
    const chunk = next.value
    const padded = chunk.length === chunkLength ? chunk : Buffer.concat([chunk], alignUp(chunk.length, 512))
    // The last chunk finds the disk at its final size: only there may a compressed cluster be shorter than others.
    if (chunk.length === chunkLength) await growTo(target, offset + padded.length)
    else await resize(target, offset + padded.length)
    const written = writeChunk(target, offset, padded, unit, flags, signal)
    offset += padded.length
    const [outcome, following] = await Promise.allSettled([written, chunks.next()])
    if (outcome.status === 'rejected') throw outcome.reason
    if (following.status === 'rejected') throw following.reason
    next = following.value
  }
  if (target.size > offset) await resize(target, offset)
}

/** Makes room for data up to `end`, with so much to spare that it is seldom needed. */
async function growTo(target: Disk, end: number): Promise<void> {
  if (end > target.size) await resize(target, Math.max(end, target.size * 2, 2 ** 26))
}

async function resize(target: Disk, size: number): Promise<void> {
  if (size === target.size) return
  try {
    await target.truncate(size)
  } catch (error) {
    if (!isBlockError(error) || error.code !== 'ENOTSUP') throw new TargetError(size, error)
    throw new CommandError('the target cannot be resized, and the size of a pipe is not known before its end', {
      cause: error,
      hint: 'save standard input to a file first',
    })
  }
}

async function writeChunk(
  target: Disk,
  offset: number,
  buf: Buffer,
  unit: number,
  flags: number,
  signal: AbortSignal,
): Promise<void> {
  const runs = unit === 0 ? [{ start: 0, length: buf.length, zero: false }] : findRuns(buf, offset, unit)
  try {
    for (const { start, length, zero } of runs) {
      if (!zero) await target.write(offset + start, buf.subarray(start, start + length), flags, signal)
    }
  } catch (error) {
    throw new TargetError(offset, error)
  }
}

/** Writes the content of `disks` to standard output. */
export async function writeRaw(disks: readonly Disk[], request: ConvertRequest, terminal: Terminal): Promise<void> {
  const { signal } = terminal
  const target = {
    // Chunks come in order, and everything is written, so offsets are not needed.
    write: async (_offset: number, buf: Uint8Array): Promise<void> => terminal.outBytes(buf),
    writeZeroes: async (): Promise<void> => undefined,
  }
  const source = new Source(disks, { signal })
  const lanes = Math.min(request.lanes, 4)
  await copyDisks({ source, target, zeroUnit: 0, targetIsZero: true, clusterSize: 1, lanes, signal })
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
    for await (const chunk of createReadStream(filename, { highWaterMark: chunkLength })) {
      throwIfAborted(terminal.signal)
      terminal.outBytes(chunk as Buffer)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
