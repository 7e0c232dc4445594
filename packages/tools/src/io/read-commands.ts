/** `read` and `readv`. */
import { isFilledWith } from './fill.ts'
import { parseAmount, parseRange, patternOf, requireSectors } from './numbers.ts'
import { hexDump, report } from './report.ts'
import { attempt, CommandFailure, type CommandWords, type IoCommand, type Session, WrongUsage } from './session.ts'
import { parseVector } from './vector.ts'
import { requireVmState } from './vm-state.ts'

/** Part of the data that has to hold a pattern. */
interface Expectation {
  readonly byte: number
  readonly start: number
  readonly length: number
}

export const read: IoCommand = {
  name: 'read',
  alias: 'r',
  minimum: 2,
  maximum: Number.POSITIVE_INFINITY,
  synopsis: '[-abCqv] [-P pattern [-s off] [-l len]] off len',
  summary: 'reads a number of bytes at a specified offset',
  letters: 'bCl:pP:qs:v',
  help: `
 Reads part of the file and says how long that took.

 Example:
 'read -v 512 1k' - shows the 1,024 bytes from offset 512 on

 -b, -- take VM state instead of the disk
 -C, -- print one line for programs
 -l, -- how many bytes have to hold the pattern of -P
 -p, -- has no effect
 -P, -- fail unless the bytes all have this value
 -q, -- print no figures
 -s, -- where in the data the pattern of -P begins
 -v, -- dump the data
`,
  waits: true,
  run: runRead,
}

async function runRead(session: Session, words: CommandWords): Promise<void> {
  const byte = patternOf(words)
  const [patternLength, patternStart] = [words.value('l'), words.value('s')].map((word) =>
    word === undefined ? undefined : parseAmount(word),
  )
  if (words.operands.length !== 2) throw new WrongUsage()
  const { offset, length } = parseRange(words.operands)
  if (byte === undefined && (patternLength !== undefined || patternStart !== undefined)) throw new WrongUsage()
  const start = patternStart ?? 0
  const expected = byte === undefined ? undefined : { byte, start, length: patternLength ?? length - start }
  if (expected !== undefined && (expected.length < 0 || start + expected.length > length)) {
    throw new CommandFailure('pattern verification range exceeds end of read data')
  }
  if (words.has('b')) requireSectors({ offset, length })
  const buf = session.buffer(length, 0xab)
  const begin = performance.now()
  await attempt(
    'read',
    words.has('b') ? readVmState(session, offset, buf) : session.disk.read(offset, buf, 0, session.terminal.signal),
  )
  tellRead(session, words, { offset, buf, expected, seconds: (performance.now() - begin) / 1000 })
}

async function readVmState(session: Session, offset: number, buf: Uint8Array): Promise<void> {
  const state = requireVmState(session)
  await session.disk.whileCounted(() => state.read(offset, buf, session.terminal.signal))
}

export const readv: IoCommand = {
  name: 'readv',
  minimum: 2,
  maximum: Number.POSITIVE_INFINITY,
  synopsis: '[-Cqv] [-P pattern] off len [len..]',
  summary: 'reads a number of bytes at a specified offset',
  letters: 'CqvP:',
  help: `
 Reads the sum of the lengths from one offset on, in one request.

 Example:
 'readv -v 512 1k 1k' - shows the 2,048 bytes from offset 512 on

 -C, -- print one line for programs
 -P, -- fail unless the bytes all have this value
 -q, -- print no figures
 -v, -- dump the data
`,
  waits: true,
  async run(session, words) {
    const byte = patternOf(words)
    const { offset, length } = parseVector(words.operands)
    const buf = session.buffer(length, 0xab)
    const begin = performance.now()
    await attempt('readv', session.disk.read(offset, buf, 0, session.terminal.signal))
    const expected = byte === undefined ? undefined : { byte, start: 0, length }
    tellRead(session, words, { offset, buf, expected, seconds: (performance.now() - begin) / 1000 })
  },
}

/** Data that was read. */
interface ReadResult {
  readonly offset: number
  readonly buf: Uint8Array
  readonly expected: Expectation | undefined
  readonly seconds: number
}

function tellRead(session: Session, words: CommandWords, result: ReadResult): void {
  const mismatch = describeMismatch(result)
  if (mismatch !== '') session.failed = true
  session.terminal.out(mismatch + describeRead(words, result))
}

/** A line about data that is not what was expected; empty if all is well. */
export function describeMismatch({ offset, buf, expected }: ReadResult): string {
  if (expected === undefined) return ''
  const { byte, start, length } = expected
  if (isFilledWith(buf.subarray(start, start + length), byte)) return ''
  return `Pattern verification failed at offset ${offset + start}, ${length} bytes\n`
}

/** The dump and the figures that the options ask for. */
export function describeRead(words: CommandWords, { offset, buf, seconds }: ReadResult): string {
  if (words.has('q')) return ''
  const dump = words.has('v') ? hexDump(offset, buf) : ''
  return dump + report({ verb: 'read', offset, length: buf.length, total: buf.length, seconds }, words.has('C'))
}
