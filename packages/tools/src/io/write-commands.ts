/** `write` and `writev`. */
import { readFileSync } from 'node:fs'
import { Flag } from '@diskgraph/core'
import { toBlockError } from '@diskgraph/core/driver'
import { errnoText } from '../messages.ts'
import { parseLongRange, parseRange, patternOf, requireSectors } from './numbers.ts'
import { report } from './report.ts'
import { attempt, CommandFailure, type CommandWords, type IoCommand, type Session, WrongUsage } from './session.ts'
import { parseVector } from './vector.ts'
import { requireVmState } from './vm-state.ts'

/** What is written where nothing else is asked for. */
export const defaultPattern = 0xcd

export const write: IoCommand = {
  name: 'write',
  alias: 'w',
  minimum: 2,
  maximum: Number.POSITIVE_INFINITY,
  synopsis: '[-bcCfnquz] [-P pattern | -s source_file] off len',
  summary: 'writes a number of bytes at a specified offset',
  letters: 'bcCfnpP:qs:uz',
  help: `
 Writes bytes of one value (0xcd unless another is given) and says how long that took.

 Example:
 'write 512 1k' - fills the 1,024 bytes from offset 512 on

 -b, -- change VM state instead of the disk
 -c, -- store the data compressed
 -C, -- print one line for programs
 -f, -- be done only when the data is on stable storage
 -n, -- with -z: fail where zeroes would have to be written out
 -p, -- has no effect
 -P, -- use another value
 -q, -- print no figures
 -s, -- repeat the content of a file instead
 -u, -- with -z: space may be given back
 -z, -- write zeroes without sending them
`,
  writes: true,
  waits: true,
  run: runWrite,
}

async function runWrite(session: Session, words: CommandWords): Promise<void> {
  const pattern = patternOf(words) ?? defaultPattern
  checkWriteOptions(words)
  const range = words.has('n') ? parseLongRange(words.operands) : parseRange(words.operands, ' without -n')
  const { offset, length } = range
  if (words.has('b') || words.has('c')) requireSectors(range)
  const source = words.value('s')
  const request = words.has('z')
    ? () => session.disk.writeZeroes(offset, length, writeFlags(words), session.terminal.signal)
    : writeOf(session, words, offset, source === undefined ? session.buffer(length, pattern) : fromFile(source, length))
  const begin = performance.now()
  await attempt('write', request())
  tellWrite(session, words, offset, length, begin)
}

function checkWriteOptions(words: CommandWords): void {
  if (words.operands.length !== 2) throw new WrongUsage()
  if (words.has('b') && words.has('z')) throw new CommandFailure('-b and -z cannot be specified at the same time')
  if (words.has('f') && (words.has('b') || words.has('c'))) {
    throw new CommandFailure('-f and -b or -c cannot be specified at the same time')
  }
  if (words.has('n') && !words.has('z')) throw new CommandFailure('-n requires -z to be specified')
  if (words.has('u') && !words.has('z')) throw new CommandFailure('-u requires -z to be specified')
  if (['z', 'P', 's'].filter((letter) => words.has(letter)).length > 1) {
    throw new CommandFailure('Only one of -z, -P, and -s can be specified at the same time')
  }
}

/** The request flags that the options of a command stand for. */
export function writeFlags(words: CommandWords): number {
  return (words.has('f') ? Flag.Fua : 0) | (words.has('u') ? Flag.MayUnmap : 0) | (words.has('n') ? Flag.NoFallback : 0)
}

function writeOf(session: Session, words: CommandWords, offset: number, buf: Uint8Array): () => Promise<void> {
  const { disk, terminal } = session
  if (words.has('b')) {
    return async () => {
      const state = requireVmState(session)
      await disk.whileCounted(() => state.write(offset, buf, terminal.signal))
    }
  }
  const flags = writeFlags(words) | (words.has('c') ? Flag.Compressed : 0)
  return () => disk.write(offset, buf, flags, terminal.signal)
}

/** `length` bytes of a file's content, repeated as often as it takes. */
function fromFile(path: string, length: number): Uint8Array {
  let content: Uint8Array
  try {
    content = readFileSync(path)
  } catch (error) {
    throw new CommandFailure(`${path}: ${errnoText(toBlockError(error))}`, 'err')
  }
  if (content.length === 0) throw new CommandFailure(`${path}: file is empty`, 'err')
  const buf = new Uint8Array(length)
  for (let at = 0; at < length; at += content.length) buf.set(content.subarray(0, length - at), at)
  return buf
}

function tellWrite(session: Session, words: CommandWords, offset: number, length: number, begin: number): void {
  if (words.has('q')) return
  const seconds = (performance.now() - begin) / 1000
  session.terminal.out(report({ verb: 'wrote', offset, length, total: length, seconds }, words.has('C')))
}

export const writev: IoCommand = {
  name: 'writev',
  minimum: 2,
  maximum: Number.POSITIVE_INFINITY,
  synopsis: '[-Cfq] [-P pattern] off len [len..]',
  summary: 'writes a number of bytes at a specified offset',
  letters: 'CfqP:',
  help: `
 Writes the sum of the lengths from one offset on, in one request.

 Example:
 'writev 512 1k 1k' - fills the 2,048 bytes from offset 512 on

 -C, -- print one line for programs
 -f, -- be done only when the data is on stable storage
 -P, -- use another value than 0xcd
 -q, -- print no figures
`,
  writes: true,
  waits: true,
  async run(session, words) {
    const pattern = patternOf(words) ?? defaultPattern
    const { offset, length } = parseVector(words.operands)
    const buf = session.buffer(length, pattern)
    const begin = performance.now()
    const { disk, terminal } = session
    await attempt('writev', disk.write(offset, buf, writeFlags(words), terminal.signal))
    tellWrite(session, words, offset, length, begin)
  },
}
