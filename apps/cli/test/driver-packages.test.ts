import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { runProgram } from '../src/main.ts'
import { capturedTerminal } from './captured-terminal.ts'

let folder = ''
const before = process.cwd()

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'driver-packages-'))
  process.chdir(folder)
})

afterEach(() => {
  process.chdir(before)
  rmSync(folder, { recursive: true, force: true })
})

function addPackage(name: string, source: string, manifest: object = { type: 'module', exports: './index.js' }): void {
  const root = join(folder, 'node_modules', name)
  mkdirSync(root, { recursive: true })
  writeFileSync(join(root, 'package.json'), JSON.stringify({ name, ...manifest }))
  writeFileSync(join(root, 'index.js'), source)
}

const answering = (size: number): string => `
export const answer = {
  name: 'answer', kind: 'protocol', description: 'always 42', options: {}, prefixes: ['answer'],
  parseFilename: () => ({}),
  open: async () => ({ size: ${size}, read: (offset, buf) => { buf.fill(42); return Promise.resolve() } }),
}`

async function run(...words: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const terminal = capturedTerminal('dg-img')
  const code = await runProgram(runImg, words, terminal)
  return { code, stdout: terminal.stdout, stderr: terminal.stderr }
}

test('a driver is found by the name of its package where the tool is run', async () => {
  addPackage('diskgraph-driver-answer', answering(1024))
  const { code, stdout, stderr } = await run('info', '--image-opts', 'driver=answer')
  expect(stderr).toBe('')
  expect(code).toBe(0)
  expect(stdout).toContain('file format: answer\nvirtual size: 1 KiB (1024 bytes)\n')
})

test('a file name with the prefix of such a driver is opened by it', async () => {
  addPackage('diskgraph-driver-answer', answering(1024))
  expect((await run('map', '-f', 'raw', 'answer:x')).stdout).toContain('0               0x400')
})

test('a package of the project goes before one of someone else', async () => {
  addPackage('diskgraph-driver-answer', answering(1024))
  addPackage('@diskgraph/driver-answer', answering(2048), {
    type: 'module',
    exports: { '.': { import: { types: './index.d.ts', default: './index.js' } } },
  })
  expect((await run('info', '--image-opts', 'driver=answer')).stdout).toContain('(2048 bytes)')
})

test('a package that cannot be loaded is named, with the reason', async () => {
  addPackage('diskgraph-driver-answer', "throw new Error('it is broken')")
  const { code, stderr } = await run('info', '--image-opts', 'driver=answer')
  expect(code).toBe(1)
  expect(stderr).toBe(
    "dg-img: Could not open 'driver=answer': cannot load driver 'answer' from 'diskgraph-driver-answer': it is broken\n",
  )
})

test('a package without a driver of that name is named', async () => {
  addPackage('diskgraph-driver-answer', 'export const x = 1')
  expect((await run('info', '--image-opts', 'driver=answer')).stderr).toBe(
    "dg-img: Could not open 'driver=answer': the package 'diskgraph-driver-answer' exports no driver called 'answer'\n",
  )
})

test('without a package the driver is unknown', async () => {
  expect((await run('info', '--image-opts', 'driver=answer')).stderr).toBe(
    "dg-img: Could not open 'driver=answer': Unknown driver 'answer'\n",
  )
})
