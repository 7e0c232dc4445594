import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { markedPages, withOptions } from '../readme-options.mjs'
import { root } from '../workspace.mjs'

const pages = markedPages()

it('finds pages with the marks', () => {
  expect(pages.length).toBeGreaterThanOrEqual(2)
})

it.each(pages)('the options in the README of $name are those of its schemas', async ({ name, path }) => {
  const text = readFileSync(path, 'utf8')
  expect(text).toBe(withOptions(text, await import(join(root, name, 'src', 'index.ts'))))
})

it('tells variants, deprecation and defaults', () => {
  const encrypt = {
    type: 'union',
    tag: 'format',
    description: 'cipher',
    variants: { luks: { key: { type: 'string', required: true, description: 'secret' } } },
  }
  const old = { type: 'integer', size: true, default: 2 ** 21, description: 'room', deprecated: "use 'new'" }
  const driver = { kind: 'format', options: { encrypt, old }, open() {} }
  const text = withOptions(
    '<!-- options: written by scripts/readme-options.mjs -->\nstale\n<!-- end of options -->\n',
    { driver },
  )
  expect(text).toContain('| `encrypt` | object, `format`: `luks` |  | cipher |')
  expect(text).toContain('| `encrypt (luks).key` | string | required | secret |')
  expect(text).toContain("| `old` | integer | 2 MiB | room (deprecated: use 'new') |")
  expect(text).not.toContain('stale')
})
