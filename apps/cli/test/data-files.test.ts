/** An image and its data file are two files, by whatever names. */
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { runProgram } from '../src/main.ts'
import { capturedTerminal } from './captured-terminal.ts'

const before = process.cwd()

async function img(...words: string[]): Promise<{ code: number; stderr: string }> {
  const terminal = capturedTerminal('dg-img')
  const code = await runProgram(runImg, words, terminal)
  return { code, stderr: terminal.stderr }
}

describe('an image as its own data file', () => {
  beforeAll(async () => {
    process.chdir(mkdtempSync(`${tmpdir()}/data-files-`))
    expect(await img('create', '-q', '-f', 'qcow2', '-o', 'data_file=a.data', 'a.qcow2', '1M')).toMatchObject({
      code: 0,
    })
    symlinkSync('a.qcow2', 'symlink')
    linkSync('a.qcow2', 'link')
  })
  afterAll(() => {
    const folder = process.cwd()
    process.chdir(before)
    rmSync(folder, { recursive: true })
  })

  const names = ['a.qcow2', './a.qcow2', 'symlink', 'link']

  test.each(names)('is refused by amend, and the image is as it was: %s', async (name) => {
    expect(await img('amend', '-o', `data_file=${name}`, 'a.qcow2')).toEqual({
      code: 1,
      stderr: `dg-img: '${name}' is the image itself, and cannot be its data file\n`,
    })
    expect(await img('compare', 'a.qcow2', 'a.data', '-f', 'qcow2', '-F', 'raw')).toMatchObject({ code: 0 })
  })

  test.each(names)('is refused by create before the old image is emptied: %s', async (name) => {
    const old = readFileSync('a.qcow2')
    const { code, stderr } = await img('create', '-q', '-f', 'qcow2', '-o', `data_file=${name}`, 'a.qcow2', '1M')
    expect([code, stderr]).toEqual([1, expect.stringContaining('of one new image')])
    expect(readFileSync('a.qcow2').equals(old)).toBe(true)
  })

  test('that cannot be made leaves the old image as it was', async () => {
    const old = readFileSync('a.qcow2')
    expect(await img('create', '-q', '-f', 'qcow2', '-o', 'data_file=none/x', 'a.qcow2', '1M')).toMatchObject({
      code: 1,
    })
    expect(readFileSync('a.qcow2').equals(old)).toBe(true)
  })

  test('is not what another file is, or one that is not there yet', async () => {
    copyFileSync('a.data', 'other')
    expect(await img('amend', '-o', 'data_file=other', 'a.qcow2')).toEqual({ code: 0, stderr: '' })
    expect(await img('amend', '-o', 'data_file=later', 'a.qcow2')).toEqual({ code: 0, stderr: '' })
  })
})

test('a data file holds no compressed clusters: convert says so before it makes one', async () => {
  const folder = mkdtempSync(`${tmpdir()}/data-files-`)
  const [source, target, data] = ['a', 'b.qcow2', 'b.data'].map((name) => `${folder}/${name}`) as [
    string,
    string,
    string,
  ]
  writeFileSync(source, new Uint8Array(65536).fill(1))
  expect(await img('convert', '-c', '-O', 'qcow2', '-o', `data_file=${data}`, source, target)).toEqual({
    code: 1,
    stderr: 'dg-img: Compression and an external data file not supported at the same time\n',
  })
  expect([existsSync(target), existsSync(data)]).toEqual([false, false])
  rmSync(folder, { recursive: true })
})
