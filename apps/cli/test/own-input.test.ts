/** Commands whose output is one of their inputs, without image locks: files are told apart by what they are. */
import { copyFileSync, linkSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { runProgram } from '../src/main.ts'
import { capturedTerminal } from './captured-terminal.ts'

vi.hoisted(() => {
  process.env.DISKGRAPH_NATIVE = 'off'
})

const before = process.cwd()
let folder = ''

async function run(...words: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const terminal = capturedTerminal('dg-img')
  const code = await runProgram(runImg, words, terminal)
  return { code, stdout: terminal.stdout, stderr: terminal.stderr }
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'own-input-'))
  process.chdir(folder)
  await run('create', '-q', '-f', 'qcow2', 'base.qcow2', '1M')
  await run('create', '-q', '-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', 'mid.qcow2')
  await run('create', '-q', '-f', 'qcow2', '-b', 'mid.qcow2', '-F', 'qcow2', 'top.qcow2')
  writeFileSync('a.raw', Buffer.alloc(1048576, 0x5a))
  for (const name of ['base.qcow2', 'mid.qcow2', 'top.qcow2', 'a.raw']) {
    symlinkSync(name, `sym-${name}`)
    linkSync(name, `hard-${name}`)
  }
})

afterEach(() => {
  process.chdir(before)
  rmSync(folder, { recursive: true, force: true })
})

const names = (name: string): string[] => [name, `./${name}`, `sym-${name}`, `hard-${name}`, `file:${name}`]

/** Runs lines that must all be refused and change nothing. */
async function expectRefused(lines: readonly (readonly string[])[], message: RegExp): Promise<void> {
  const files = ['base.qcow2', 'mid.qcow2', 'top.qcow2', 'a.raw']
  const contents = files.map((name) => readFileSync(name))
  for (const words of lines) {
    const { code, stderr } = await run(...words)
    expect(code, words.join(' ')).toBe(1)
    expect(stderr, words.join(' ')).toMatch(message)
    files.forEach((name, i) => {
      expect(readFileSync(name).equals(contents[i] as Buffer), `${words.join(' ')}: ${name}`).toBe(true)
    })
  }
}

test('rebase onto the image itself is refused by every name of it', async () => {
  await expectRefused(
    names('top.qcow2').map((name) => ['rebase', '-b', name, '-F', 'qcow2', 'top.qcow2']),
    /^dg-img: Could not open new backing file '.*': Failed to get shared "write" lock\n/,
  )
})

test('rebase onto an overlay of the image is refused', async () => {
  await expectRefused(
    ['mid.qcow2', 'base.qcow2'].flatMap((image) =>
      names('top.qcow2').map((name) => ['rebase', '-b', name, '-F', 'qcow2', image]),
    ),
    /^dg-img: Could not open new backing file '.*': .*Failed to get shared "write" lock\n/,
  )
})

test('rebase with a shared image is refused all the same', async () => {
  await expectRefused([['rebase', '-U', '-b', 'hard-top.qcow2', '-F', 'qcow2', 'top.qcow2']], /"write" lock/)
})

test('rebase onto a layer of the chain and onto another image still works', async () => {
  expect(await run('rebase', '-b', 'base.qcow2', '-F', 'qcow2', 'top.qcow2')).toMatchObject({ code: 0, stderr: '' })
  await run('create', '-q', '-f', 'qcow2', 'other.qcow2', '1M')
  expect(await run('rebase', '-b', 'other.qcow2', '-F', 'qcow2', 'top.qcow2')).toMatchObject({ code: 0, stderr: '' })
})

test.each([[], ['-U']])('convert onto a source or a layer of it is refused: %s', async (...flags: string[]) => {
  const lines = ['top.qcow2', 'mid.qcow2', 'base.qcow2'].flatMap((target) =>
    names(target).flatMap((name) => [
      ['convert', ...flags, '-O', 'qcow2', 'top.qcow2', name],
      ['convert', ...flags, '-O', 'qcow2', 'a.raw', 'top.qcow2', name],
      ['convert', ...flags, '-n', '-O', 'qcow2', 'top.qcow2', name],
    ]),
  )
  await expectRefused(lines, /Failed to get "write" lock\n/)
  await expectRefused(
    names('a.raw').flatMap((name) => [
      ['convert', ...flags, '-f', 'raw', '-O', 'raw', 'a.raw', name],
      ['convert', ...flags, '-f', 'raw', '-n', '-O', 'raw', 'a.raw', name],
    ]),
    /Failed to get "write" lock\n/,
  )
})

test('convert by options onto its source is refused', async () => {
  const options = 'driver=raw,file.driver=file,file.filename=hard-a.raw'
  await expectRefused(
    [
      ['convert', '-n', '-f', 'raw', '--target-image-opts', 'a.raw', options],
      ['convert', '-n', '--image-opts', '--target-image-opts', 'driver=raw,file.filename=a.raw', options],
    ],
    /Failed to get "write" lock\n/,
  )
})

test('convert onto an overlay of its source still works', async () => {
  expect(await run('convert', '-n', '-O', 'qcow2', 'mid.qcow2', 'top.qcow2')).toMatchObject({ code: 0, stderr: '' })
})

test('a new image on a backing file that is or needs the file of the image is refused', async () => {
  const lines = ['top.qcow2', 'mid.qcow2', 'base.qcow2'].flatMap((target) =>
    names('top.qcow2').map((name) => [name, target]),
  )
  await expectRefused(
    lines.flatMap(([backing, target]) => [
      ['create', '-f', 'qcow2', '-b', String(backing), '-F', 'qcow2', String(target), '1M'],
      ['convert', '-O', 'qcow2', '-f', 'raw', '-B', String(backing), '-F', 'qcow2', 'a.raw', String(target)],
    ]),
    /same filename as the backing file|Failed to get "write" lock/,
  )
  await expectRefused(
    names('top.qcow2').map((name) => ['create', '-u', '-f', 'qcow2', '-b', name, '-F', 'qcow2', 'top.qcow2', '1M']),
    /same filename as the backing file/,
  )
})

test('dd onto its input or a layer of it is refused', async () => {
  await expectRefused(
    [
      ...names('a.raw').flatMap((name) => [
        ['dd', '-f', 'raw', '-O', 'raw', 'if=a.raw', `of=${name}`],
        ['dd', '-U', '-f', 'raw', '-O', 'raw', 'if=a.raw', `of=${name}`],
      ]),
      ...names('base.qcow2').map((name) => ['dd', '-O', 'qcow2', 'if=top.qcow2', `of=${name}`]),
    ],
    /Failed to get "write" lock\n/,
  )
})

test('commit into the image itself is refused', async () => {
  await expectRefused(
    names('top.qcow2').map((name) => ['commit', '-b', name, 'top.qcow2']),
    /Did not find '.*' in the backing chain/,
  )
})

test('a copy of an image is another file', async () => {
  copyFileSync('a.raw', 'b.raw')
  expect(await run('convert', '-n', '-f', 'raw', '-O', 'raw', 'a.raw', 'b.raw')).toMatchObject({ code: 0, stderr: '' })
  expect(await run('compare', '-f', 'raw', '-F', 'raw', 'a.raw', 'hard-a.raw')).toMatchObject({ code: 0 })
})
