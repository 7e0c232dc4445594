/** `aio_read`, `aio_write` and `aio_flush`: requests that end while other commands run. */
import { errnoText } from '../messages.ts'
import { parseLongRange, patternOf } from './numbers.ts'
import { describeMismatch, describeRead } from './read-commands.ts'
import { report } from './report.ts'
import { CommandFailure, type CommandWords, type IoCommand, type Session, WrongUsage } from './session.ts'
import { parseVector } from './vector.ts'
import { defaultPattern, writeFlags } from './write-commands.ts'

export const aioRead: IoCommand = {
  name: 'aio_read',
  minimum: 2,
  maximum: Number.POSITIVE_INFINITY,
  synopsis: '[-Ciqv] [-P pattern] off len [len..]',
  summary: 'asynchronously reads a number of bytes',
  letters: 'CP:iqv',
  help: `
 Begins to read the sum of the lengths from one offset on. The result is told when it is there; 'aio_flush' waits
 for it. A failure that comes later does not make this command fail.

 -C, -- print one line for programs
 -i, -- only tell of an invalid request
 -P, -- tell if not all of the bytes have this value
 -q, -- print no figures
 -v, -- dump the data
`,
  run(session, words) {
    const byte = patternOf(words)
    if (words.has('i')) return tellInvalid(session, 'read')
    const { offset, length } = parseVector(words.operands)
    const buf = session.buffer(length, 0xab)
    const begin = performance.now()
    const request = session.disk.read(offset, buf, 0, session.terminal.signal)
    const expected = byte === undefined ? undefined : { byte, start: 0, length }
    session.background.start(
      request.then(
        () => {
          const result = { offset, buf, expected, seconds: (performance.now() - begin) / 1000 }
          return describeMismatch(result) + describeRead(words, result)
        },
        (error) => `readv failed: ${errnoText(error)}\n`,
      ),
    )
  },
}

export const aioWrite: IoCommand = {
  name: 'aio_write',
  minimum: 2,
  maximum: Number.POSITIVE_INFINITY,
  synopsis: '[-Cfiquz] [-P pattern] off len [len..]',
  summary: 'asynchronously writes a number of bytes',
  letters: 'CfiP:quz',
  help: `
 Begins to write the sum of the lengths from one offset on. The result is told when it is there; 'aio_flush' waits
 for it. A failure that comes later does not make this command fail.

 -C, -- print one line for programs
 -f, -- be done only when the data is on stable storage
 -i, -- only tell of an invalid request
 -P, -- use another value than 0xcd
 -q, -- print no figures
 -u, -- with -z: space may be given back
 -z, -- write zeroes without sending them
`,
  writes: true,
  run(session, words) {
    const pattern = patternOf(words) ?? defaultPattern
    if (words.operands.length < 2 && !words.has('i')) throw new WrongUsage()
    if (words.has('z') && words.operands.length !== 2) {
      throw new CommandFailure('-z supports only a single length parameter')
    }
    if (words.has('u') && !words.has('z')) throw new CommandFailure('-u requires -z to be specified')
    if (words.has('i')) return tellInvalid(session, 'write')
    session.background.start(beginWrite(session, words, pattern))
  },
}

function beginWrite(session: Session, words: CommandWords, pattern: number): Promise<string> {
  const { disk, terminal } = session
  const zeroes = words.has('z')
  const { offset, length } = zeroes ? parseLongRange(words.operands) : parseVector(words.operands)
  const buf = zeroes ? undefined : session.buffer(length, pattern)
  const begin = performance.now()
  const request =
    buf === undefined
      ? disk.writeZeroes(offset, length, writeFlags(words), terminal.signal)
      : disk.write(offset, buf, writeFlags(words), terminal.signal)
  return request.then(
    () => {
      if (words.has('q')) return ''
      const seconds = (performance.now() - begin) / 1000
      return report({ verb: 'wrote', offset, length, total: length, seconds }, words.has('C'))
    },
    (error) => `aio_write failed: ${errnoText(error)}\n`,
  )
}

/** A request that never reaches the file. */
function tellInvalid(session: Session, kind: 'read' | 'write'): void {
  session.terminal.out(`injecting invalid ${kind} request\n`)
}

export const aioFlush: IoCommand = {
  name: 'aio_flush',
  minimum: 0,
  maximum: 0,
  summary: 'completes all outstanding aio requests',
  waits: true,
  run: (session) => session.background.finish(),
}
