import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { runProgram } from '../src/main.ts'
import { capturedTerminal } from './captured-terminal.ts'

let folder = ''
const before = process.cwd()

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hostile-'))
  process.chdir(folder)
})

afterEach(() => {
  process.chdir(before)
  rmSync(folder, { recursive: true, force: true })
})

async function run(...words: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const terminal = capturedTerminal('dg-img')
  const code = await runProgram(runImg, words, terminal)
  return { code, stdout: terminal.stdout, stderr: terminal.stderr }
}

test('a name out of an image cannot drive the terminal', async () => {
  const name = 'a\x1b]0;title\x07\nb'
  await run('create', '-q', '-u', '-f', 'qcow2', '-b', name, '-F', 'raw', 'x.qcow2', '1M')
  const human = await run('info', 'x.qcow2')
  expect(human.stdout).toContain('backing file: a\\x1b]0;title\\x07\\x0ab\n')
  expect((await run('info', '--output=json', 'x.qcow2')).stdout).toContain('"a\\u001B]0;title\\u0007\\nb"')
  const failed = await run('map', 'x.qcow2')
  expect(failed.code).toBe(1)
  expect(failed.stderr).not.toContain('\x1b')
})

test('a snapshot with a hostile name is listed as it is written in C', async () => {
  await run('create', '-q', '-f', 'qcow2', 'x.qcow2', '1M')
  await run('snapshot', '-c', 'a\x1b[2Jb', 'x.qcow2')
  expect((await run('snapshot', '-l', 'x.qcow2')).stdout).toContain('a\\x1b[2Jb')
})

test.skipIf(process.platform === 'win32')('a FIFO is refused without waiting for it', async () => {
  expect(spawnSync('mkfifo', ['fifo']).status).toBe(0)
  for (const command of ['info', 'map', 'check', 'measure']) {
    expect(await run(command, 'fifo')).toEqual({
      code: 1,
      stdout: '',
      stderr: "dg-img: Could not open 'fifo': 'file' driver requires 'fifo' to be a regular file\n",
    })
  }
  await run('create', '-q', '-u', '-f', 'qcow2', '-b', 'fifo', '-F', 'raw', 'x.qcow2', '1M')
  expect((await run('map', 'x.qcow2')).stderr).toContain("'fifo' to be a regular file")
})

test('a chain that loops is refused at once, and info of one image is not', async () => {
  await run('create', '-q', '-u', '-f', 'qcow2', '-b', 'b.qcow2', '-F', 'qcow2', 'a.qcow2', '1M')
  await run('create', '-q', '-u', '-f', 'qcow2', '-b', 'a.qcow2', '-F', 'qcow2', 'b.qcow2', '1M')
  expect((await run('map', 'a.qcow2')).stderr).toContain('Backing chain loops: ')
  expect((await run('info', 'a.qcow2')).code).toBe(0)
  expect((await run('info', '--backing-chain', 'a.qcow2')).stderr).toBe(
    "dg-img: Backing file 'a.qcow2' creates an infinite loop.\n",
  )
})

test('a failed command changes no file', async () => {
  await run('create', '-q', '-f', 'qcow2', 'x.qcow2', '1M')
  const image = readFileSync('x.qcow2')
  for (const words of [
    ['create', '-f', 'qcow2', '-o', 'cluster_size=3', 'x.qcow2', '1M'],
    ['create', '-f', 'qcow2', '-o', 'preallocation=maybe', 'x.qcow2', '1M'],
    ['create', '-f', 'qcow2', 'x.qcow2', '64P'],
    ['create', '-f', 'qcow2', '-b', 'nofile', '-F', 'raw', 'x.qcow2'],
    ['resize', 'x.qcow2', '512k'],
    ['resize', '--preallocation=full', '--shrink', 'x.qcow2', '512k'],
    ['amend', '-o', 'cluster_size=4k', 'x.qcow2'],
    ['snapshot', '-d', 'nosuch', 'x.qcow2'],
    ['snapshot', '-a', 'nosuch', 'x.qcow2'],
    ['bitmap', '--remove', 'x.qcow2', 'b0'],
  ]) {
    expect((await run(...words)).code, words.join(' ')).toBe(1)
    expect(readFileSync('x.qcow2').equals(image), words.join(' ')).toBe(true)
  }
})

test('a new image that cannot be made leaves no file', async () => {
  expect((await run('create', '-f', 'qcow2', '-o', 'cluster_size=3', 'x.qcow2', '1M')).code).toBe(1)
  expect(() => statSync('x.qcow2')).toThrow('ENOENT')
})

test('a guessed raw image is guarded when it is written to', async () => {
  await run('create', '-q', 'x.img', '1M')
  const { stderr } = await run('resize', 'x.img', '2M')
  expect(stderr).toBe(
    "WARNING: Image format was not specified for 'x.img' and probing guessed raw.\n" +
      '         Automatically detecting the format is dangerous for raw images, write operations on block 0 will be restricted.\n' +
      "         Specify the 'raw' format explicitly to remove the restrictions.\n",
  )
  expect((await run('resize', '-f', 'raw', 'x.img', '3M')).stderr).toBe('')
})
