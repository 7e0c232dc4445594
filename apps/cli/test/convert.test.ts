/** `convert` where there is nothing to compare with: failures half-way, streams, progress, big sparse disks. */

import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { messageOf, showFailure } from '@diskgraph/tools'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parseConvert } from '../src/copy/convert-request.ts'
import { convertFromPipe } from '../src/copy/convert-streams.ts'
import { runImg } from '../src/img/main.ts'
import { withGraph } from '../src/opening.ts'
import { type CapturedTerminal, capturedTerminal } from './captured-terminal.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'diskgraph-convert-'))
})

afterEach(() => rmSync(folder, { recursive: true }))

const path = (name: string): string => join(folder, name)

async function img(terminal: CapturedTerminal, ...words: string[]): Promise<number> {
  try {
    return await runImg(words, terminal)
  } catch (error) {
    return showFailure(terminal, error)
  }
}

/** Bytes that do not repeat soon, with a hole in the middle. */
function sample(length: number): Buffer {
  const buf = Buffer.alloc(length)
  for (let i = 0; i + 4 <= length; i += 4) buf.writeUInt32LE(Math.imul(i, 2654435761) >>> 0, i)
  return buf.fill(0, Math.floor(length / 4), Math.floor(length / 2))
}

describe('a conversion that fails', () => {
  test('leaves no target behind when the source cannot be read', async () => {
    writeFileSync(path('s.raw'), sample(2 ** 21))
    writeFileSync(path('rules'), '[inject-error]\nevent = "none"\niotype = "read"\nerrno = "5"\nsector = "100"\n')
    const terminal = capturedTerminal()
    const source = `blkdebug:${path('rules')}:${path('s.raw')}`
    expect(await img(terminal, 'convert', '-f', 'raw', '-O', 'qcow2', source, path('o'))).toBe(1)
    expect(terminal.stderr).toBe('dg-img: error while reading at byte 0: Input/output error\n')
    expect(existsSync(path('o'))).toBe(false)
  })

  test('keeps a target that was there before', async () => {
    writeFileSync(path('s.raw'), sample(2 ** 21))
    writeFileSync(path('o'), 'x')
    writeFileSync(path('rules'), '[inject-error]\nevent = "none"\niotype = "read"\nerrno = "5"\nsector = "100"\n')
    const source = `blkdebug:${path('rules')}:${path('s.raw')}`
    expect(await img(capturedTerminal(), 'convert', '-f', 'raw', source, path('o'))).toBe(1)
    expect(existsSync(path('o'))).toBe(true)
  })

  test('says where writing failed', async () => {
    writeFileSync(path('s.raw'), sample(2 ** 22))
    const terminal = capturedTerminal()
    expect(await img(terminal, 'create', '-q', '-f', 'qcow2', path('t'), '4M')).toBe(0)
    writeFileSync(path('rules'), '[inject-error]\nevent = "write_aio"\nerrno = "28"\n')
    const target = `blkdebug:${path('rules')}:${path('t')}`
    expect(await img(terminal, 'convert', '-n', '-f', 'raw', '-O', 'qcow2', path('s.raw'), target)).toBe(1)
    expect(terminal.stderr).toMatch(/^dg-img: error while writing at byte 0: No space left on device\n/)
  })

  test('leaves no target behind when it is interrupted', async () => {
    writeFileSync(path('s.raw'), sample(2 ** 22))
    const abort = new AbortController()
    const terminal = capturedTerminal('dg-img', { signal: abort.signal })
    const converted = img(terminal, 'convert', '-r', '1M', '-O', 'qcow2', path('s.raw'), path('o'))
    setTimeout(() => abort.abort(new Error('interrupted')), 300)
    expect(await converted).toBe(1)
    expect(existsSync(path('o'))).toBe(false)
  })

  test('does not touch a file that is its own source, under whatever name', async () => {
    writeFileSync(path('s.raw'), sample(2 ** 20))
    const terminal = capturedTerminal()
    const again = join(folder, '.', 's.raw')
    expect(await img(terminal, 'convert', '-f', 'raw', '-O', 'qcow2', path('s.raw'), `file:${again}`)).toBe(1)
    expect(terminal.stderr).toContain('Failed to get "write" lock')
    expect(readFileSync(path('s.raw')).equals(sample(2 ** 20))).toBe(true)
  })
})

describe('standard input', () => {
  async function fromPipe(bytes: Buffer, ...words: string[]): Promise<CapturedTerminal> {
    const terminal = capturedTerminal('diskgraph', { forPeople: true })
    const request = parseConvert(words, terminal)
    // Pieces of odd length, as pipes give them.
    const pieces: Buffer[] = []
    for (let at = 0; at < bytes.length; at += 50_021) pieces.push(bytes.subarray(at, at + 50_021))
    try {
      await withGraph(terminal, [], (graph) => convertFromPipe(graph, request, terminal, Readable.from(pieces)))
    } catch (error) {
      terminal.stderr += messageOf(error)
    }
    return terminal
  }

  test('becomes a raw target of its length, rounded up to a sector', async () => {
    const bytes = sample(3_000_001)
    await fromPipe(bytes, '-f', 'raw', '-', path('o'))
    expect(statSync(path('o')).size).toBe(3_000_320)
    expect(readFileSync(path('o')).subarray(0, bytes.length).equals(bytes)).toBe(true)
  })

  test.each([[], ['-c']])('becomes a qcow2 target (%s)', async (...flags) => {
    const bytes = sample(2 ** 23 + 512)
    await fromPipe(bytes, ...flags, '-O', 'qcow2', '-', path('o'))
    const terminal = capturedTerminal()
    expect(await img(terminal, 'convert', path('o'), path('back'))).toBe(0)
    expect(readFileSync(path('back')).equals(bytes)).toBe(true)
    expect(await img(terminal, 'check', '-q', path('o'))).toBe(0)
  })

  test('is refused when it holds a format that needs to seek, and nothing is made', async () => {
    await img(capturedTerminal(), 'create', '-q', '-f', 'qcow2', path('s'), '1M')
    const terminal = await fromPipe(readFileSync(path('s')), '-', path('o'))
    expect(terminal.stderr).toContain("an image of format 'qcow2' cannot be read from a pipe")
    expect(existsSync(path('o'))).toBe(false)
  })
})

describe('standard output', () => {
  test('gets all bytes of a disk', async () => {
    const bytes = sample(2 ** 22)
    writeFileSync(path('s.raw'), bytes)
    const terminal = capturedTerminal('diskgraph', { forPeople: true })
    expect(await img(terminal, 'convert', '-f', 'raw', path('s.raw'), '-')).toBe(0)
    expect(Buffer.from(terminal.stdout, 'latin1').equals(bytes)).toBe(true)
  })

  test('gets a format that needs to seek through a temporary file', async () => {
    const bytes = sample(2 ** 20)
    writeFileSync(path('s.raw'), bytes)
    const terminal = capturedTerminal('diskgraph', { forPeople: true })
    expect(await img(terminal, 'convert', '-f', 'raw', '-c', '-O', 'qcow2', path('s.raw'), '-')).toBe(0)
    writeFileSync(path('o'), Buffer.from(terminal.stdout, 'latin1'))
    expect(await img(capturedTerminal(), 'compare', '-q', path('s.raw'), path('o'))).toBe(0)
  })

  test('is a file called - for the drop-in tool', async () => {
    writeFileSync(path('s.raw'), sample(2 ** 20))
    const before = process.cwd()
    process.chdir(folder)
    try {
      expect(await img(capturedTerminal(), 'convert', '-f', 'raw', 's.raw', '-')).toBe(0)
    } finally {
      process.chdir(before)
    }
    expect(readdirSync(folder)).toContain('-')
  })
})

test('a sparse disk of 1 TiB is converted without reading its holes', async () => {
  writeFileSync(path('s.raw'), sample(2 ** 20))
  truncateSync(path('s.raw'), 2 ** 40)
  expect(await img(capturedTerminal(), 'convert', '-f', 'raw', '-O', 'qcow2', path('s.raw'), path('o'))).toBe(0)
  expect(statSync(path('o')).size).toBeLessThan(2 ** 24)
})

test('progress goes up to 100 and ends its line', async () => {
  writeFileSync(path('s.raw'), sample(2 ** 23))
  const terminal = capturedTerminal()
  expect(await img(terminal, 'convert', '-p', '-f', 'raw', '-O', 'qcow2', path('s.raw'), path('o'))).toBe(0)
  expect(terminal.stdout).toMatch(/^ {4}\(0\.00\/100%\)\r(?: {4}\(\d+\.\d\d\/100%\)\r)* {4}\(100\.00\/100%\)\r\n$/)
})

test('eight lanes and one lane lay the same disk out in the same order', async () => {
  writeFileSync(path('s.raw'), sample(2 ** 24))
  for (const lanes of ['1', '8']) {
    const words = ['convert', '-m', lanes, '-f', 'raw', '-O', 'qcow2', path('s.raw'), path(`o${lanes}`)]
    expect(await img(capturedTerminal(), ...words)).toBe(0)
  }
  expect(spawnSync('cmp', [path('o1'), path('o8')]).status).toBe(0)
})
