/** dg-io where there is nothing to compare with, or where a process of its own is needed. */

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { amount, hexDump, report } from '@diskgraph/tools'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { runIo } from '../src/io/main.ts'
import { type CapturedTerminal, capturedTerminal } from './captured-terminal.ts'
import { withoutTimes } from './compare/twins.ts'

let folder: string
let disk: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'diskgraph-io-'))
  disk = join(folder, 'disk.raw')
  writeFileSync(disk, Buffer.alloc(65536))
})

afterEach(() => rmSync(folder, { recursive: true }))

async function typed(text: string, ...words: string[]): Promise<CapturedTerminal & { code: number }> {
  const terminal = capturedTerminal('dg-io')
  const code = await runIo(['-f', 'raw', disk, ...words], terminal, Readable.from([Buffer.from(text)]))
  return Object.assign(terminal, { code })
}

describe('standard input', () => {
  test('is read line by line behind a prompt with the name of the program', async () => {
    const { stdout, stderr, code } = await typed('length\n\nfoo\nread -q 0 512\n')
    expect(stdout).toBe('dg-io> 64 KiB\ndg-io> dg-io> dg-io> dg-io> ')
    expect(stderr).toBe('command "foo" not found\n')
    expect(code).toBe(1)
  })

  test('may end without a newline', async () => {
    expect((await typed('length')).stdout).toBe('dg-io> 64 KiB\ndg-io> ')
  })

  test('is left alone after quit', async () => {
    const { stdout, code } = await typed('quit\nlength\n')
    expect(stdout).toBe('dg-io> ')
    expect(code).toBe(0)
  })

  test('may come in any pieces', async () => {
    const terminal = capturedTerminal('dg-io')
    const pieces = ['le', 'ngth\nwri', 'te -q -P 7 0 51', '2\nread -q -P 7 0 512\n']
    expect(await runIo(['-f', 'raw', disk], terminal, Readable.from(pieces))).toBe(0)
    expect(terminal.stdout).toBe('dg-io> 64 KiB\ndg-io> dg-io> dg-io> ')
  })

  test('lets results of background requests come in between', async () => {
    const { stdout } = await typed('aio_write 0 512\naio_flush\nlength\n')
    expect(withoutTimes(stdout)).toContain('wrote 512/512 bytes at offset 0\n512 bytes, TIME\n')
  })
})

test('help lists all commands and explains each', async () => {
  const { stdout, code } = await typed('help\nhelp read\n? write\n')
  expect(code).toBe(0)
  for (const name of ['abort', 'aio_flush', 'alloc', 'map', 'reopen', 'writev']) {
    expect(stdout).toContain(`\n${name}`.replace('\nabort', 'abort'))
  }
  expect(stdout).toContain(' -P, -- fail unless the bytes all have this value')
})

test.each([
  ['abort', 'SIGABRT'],
  ['sigraise 9', 'SIGKILL'],
  ['sigraise 15', 'SIGTERM'],
])('%s ends the process at once', (command, signal) => {
  const root = fileURLToPath(new URL('../../..', import.meta.url))
  const tsx = createRequire(import.meta.url).resolve('tsx')
  const words = ['--import', tsx, join(root, 'apps/cli/test/program.ts'), 'io', '-f', 'raw', disk]
  const env = { ...process.env, TSX_TSCONFIG_PATH: join(root, 'tsconfig.json') }
  const ran = spawnSync(process.execPath, [...words, '-c', 'length', '-c', command, '-c', 'length'], {
    cwd: folder,
    env,
    encoding: 'utf8',
  })
  expect(ran.stdout).toBe('64 KiB\n')
  expect(ran.signal).toBe(signal)
})

test('an image that keeps what it reads stays writable', async () => {
  const terminal = capturedTerminal('dg-io')
  const image = join(folder, 'image.qcow2')
  await runImg(['create', '-q', '-f', 'qcow2', image, '1M'], terminal)
  expect(await runIo(['-C', '-c', 'reopen -r', '-c', 'write -q 0 512', image], terminal)).toBe(1)
  expect(terminal.stderr).toMatch(/^dg-io: Can't set node '.*' to r\/o with copy-on-read enabled\n$/)
  expect(await runIo(['-c', 'read -q -P 0xcd 0 512', image], terminal)).toBe(0)
})

describe('amounts', () => {
  test.each([
    [0, '0 bytes'],
    [1000, '1000 bytes'],
    [1024, '1 KiB'],
    [1000000, '976.562 KiB'],
    [1025, '1.001 KiB'],
    [2 ** 40 + 2 ** 39, '1.500 TiB'],
    [0.215407, '0.215407 bytes'],
    [0.0004, '0 bytes'],
  ])('%d is shown as %s', (bytes, text) => expect(amount(bytes)).toBe(text))
})

test('times of a minute and more are shown with hours and minutes', () => {
  const outcome = { verb: 'read', offset: 0, length: 512, total: 512, seconds: 3723.456 }
  expect(report(outcome, false)).toContain('512 bytes, 1 ops; 1:02:03.45 (')
  expect(report({ ...outcome, seconds: 1.5 }, false)).toContain('; 01.50 sec (')
  expect(report({ ...outcome, seconds: 1.5 }, true)).toBe('512,1,0:00:01.50,341.333,0.667\n')
})

test('dumps show letters and digits only', () => {
  expect(hexDump(0x1fff0, Buffer.from('Hi 5\0'))).toBe('0001fff0:  48 69 20 35 00  Hi.5.\n')
})
