/** What an image's own options say (a `json:` name, --image-opts) is not taken back by the defaults of a command. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { runIo } from '../src/io/main.ts'
import { runProgram } from '../src/main.ts'
import { capturedTerminal } from './captured-terminal.ts'

let folder = ''
let image = ''

async function img(...words: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const terminal = capturedTerminal('dg-img')
  const code = await runProgram(runImg, words, terminal)
  return { code, stdout: terminal.stdout, stderr: terminal.stderr }
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'own-options-'))
  image = join(folder, 'c.qcow2')
  await img('create', '-q', '-f', 'qcow2', image, '1M')
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

const readOnly = () => `json:{"driver":"qcow2","read-only":true,"file":{"driver":"file","filename":"${image}"}}`

test.each([
  ['resize', (name: string) => ['resize', name, '+1M']],
  ['amend', (name: string) => ['amend', '-o', 'compat=0.10', name]],
  ['snapshot', (name: string) => ['snapshot', '-c', 'x', name]],
  ['bench -w', (name: string) => ['bench', '-w', '-c', '1', name]],
  ['commit', (name: string) => ['commit', name]],
])('%s does not write to an image whose name says that it is read-only', async (_, words) => {
  const before = readFileSync(image)
  const { code, stderr } = await img(...words(readOnly()))
  expect(code).toBe(1)
  expect(stderr).toContain('Block node is read-only')
  expect(readFileSync(image).equals(before)).toBe(true)
})

test('image options that say read-only keep a command from writing', async () => {
  const before = readFileSync(image)
  const { code, stderr } = await img(
    'resize',
    '--image-opts',
    `driver=qcow2,read-only=on,file.filename=${image}`,
    '+1M',
  )
  expect([code, stderr]).toEqual([1, expect.stringContaining('Block node is read-only')])
  expect(readFileSync(image).equals(before)).toBe(true)
})

test('dg-io does not open such an image for writing, and reads it with -r', async () => {
  const terminal = capturedTerminal('dg-io')
  expect(await runProgram(runIo, ['-c', 'write 0 512', readOnly()], terminal)).toBe(1)
  expect(terminal.stderr).toContain('Block node is read-only')
  const reading = capturedTerminal('dg-io')
  expect(await runProgram(runIo, ['-r', '-c', 'read 0 512', readOnly()], reading)).toBe(0)
})

test('such an image can be looked at', async () => {
  expect((await img('info', readOnly())).code).toBe(0)
  expect((await img('check', readOnly())).code).toBe(0)
})
