import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { runProgram } from '../src/main.ts'
import { runDiskgraph } from '../src/people/main.ts'
import { capturedTerminal } from './captured-terminal.ts'
import { splitWords } from './differential.ts'

let folder = ''
const before = process.cwd()

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'readme-'))
  process.chdir(folder)
})

afterEach(() => {
  process.chdir(before)
  rmSync(folder, { recursive: true, force: true })
})

test('the commands of the README work in their order', async () => {
  const page = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  const [, use = ''] = page.split('\n## Use\n')
  const [, block = ''] = use.split('```sh\n')
  const lines = (block.split('```')[0] as string).trim().split('\n')
  expect(lines.length).toBeGreaterThan(4)
  for (const line of lines) {
    const [program, ...words] = splitWords(line)
    expect(program).toBe('diskgraph')
    const terminal = capturedTerminal('diskgraph', { forPeople: true })
    expect(await runProgram(runDiskgraph, words, terminal), `${line}\n${terminal.stderr}`).toBe(0)
  }
})
