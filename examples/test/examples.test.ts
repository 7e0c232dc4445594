import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'

const examples = fileURLToPath(new URL('..', import.meta.url))
const names = readdirSync(examples).filter((name) => name.endsWith('.ts'))
const before = process.cwd()
let folder = ''

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'examples-'))
  process.chdir(folder)
})

afterEach(() => {
  process.chdir(before)
  vi.restoreAllMocks()
  rmSync(folder, { recursive: true, force: true })
})

test.each(names)('%s prints what stands at its end', async (name) => {
  const lines: string[] = []
  vi.spyOn(console, 'log').mockImplementation((...words) => lines.push(words.join(' ')))
  await import(join(examples, name))
  const promised = readFileSync(join(examples, name), 'utf8').trimEnd().split('\n\n').at(-1) as string
  expect(lines.map((line) => `// ${line}`).join('\n')).toBe(promised)
})
