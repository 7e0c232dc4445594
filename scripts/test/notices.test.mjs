import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { build } from 'esbuild'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { noticedPackages, notices, noticesName, packageOf } from '../notices.mjs'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'notices-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function write(files) {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
}

/** Bundles `main.js`. */
const bundle = () =>
  build({
    absWorkingDir: folder,
    entryPoints: ['main.js'],
    outdir: 'dist',
    bundle: true,
    sourcemap: true,
    logLevel: 'silent',
    plugins: [notices],
  })

const library = (name, files) => {
  const manifest = JSON.stringify({ name, version: '1.2.3', license: 'MIT', main: 'index.js', sideEffects: false })
  return Object.fromEntries(
    Object.entries({ 'package.json': manifest, ...files }).map(([file, text]) => [
      `node_modules/${name}/${file}`,
      text,
    ]),
  )
}

describe('notices of a bundle', () => {
  it('are the licences of the packages of which something is in it', async () => {
    write({
      'main.js': "import { a } from '@of/used'\nimport { b } from 'unused'\nimport { own } from './own.js'\nown(a)\n",
      'own.js': 'export const own = console.log\n',
      ...library('@of/used', {
        'index.js': "export * from 'below'",
        LICENSE: 'Text of used',
        'NOTICE.md': 'Its notice',
      }),
      ...library('below', { 'index.js': 'export const a = 1', 'licence.txt': 'Text of below' }),
      ...library('unused', { 'index.js': 'export const b = 1' }),
    })
    await bundle()
    const text = readFileSync(join(folder, 'dist', noticesName), 'utf8')
    expect(noticedPackages(text)).toEqual(['below'])
    expect(text).toContain('below 1.2.3 (MIT)')
    expect(text).toContain('Text of below')
  })

  it('tell of a library that was bundled into another one', async () => {
    const map = JSON.stringify({ version: 3, sources: ['node_modules/below/x.js'], names: [], mappings: 'AAAA' })
    const inlined = `//# sourceMappingURL=data:application/json;base64,${Buffer.from(map).toString('base64')}`
    write({
      'main.js': "import { a } from 'over'\nconsole.log(a)\n",
      ...library('over', { 'index.js': `export const a = 1\n${inlined}\n`, LICENSE: 'Text of over' }),
      ...library('below', { LICENSE: 'Text of below' }),
    })
    await bundle()
    expect(noticedPackages(readFileSync(join(folder, 'dist', noticesName), 'utf8'))).toEqual(['below', 'over'])
  })

  it('end the build for a package without a licence', async () => {
    write({
      'main.js': "import { a } from 'bare'\nconsole.log(a)\n",
      ...library('bare', { 'index.js': 'export const a = 1' }),
    })
    await expect(bundle()).rejects.toThrow("'bare' is bundled and has no text of its licence")
  })

  it.each([
    ['../../node_modules/.pnpm/a@1/node_modules/@b/c/d.js', '@b/c'],
    ['node_modules/a/b.js', 'a'],
    ['../src/index.ts', undefined],
    ['../old_node_modules/a/b.js', undefined],
  ])('%s belongs to %s', (path, name) => {
    expect(packageOf(path)).toBe(name)
  })
})
