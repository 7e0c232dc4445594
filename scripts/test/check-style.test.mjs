import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findProblems } from '../check-style.mjs'

const page = ['What', 'When to use it', 'Install', 'Use', 'Options', 'Limits', 'Differences from QEMU']
  .map((heading) => `## ${heading}\n`)
  .join('\n')

let folder

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'diskgraph-style-'))
  write('pnpm-workspace.yaml', 'packages:\n  - packages/*\n  - bench\nother: true\n')
  addPackage('core')
  addPackage('driver-a', { peerDependencies: { '@diskgraph/core': '*' } })
  addPackage('driver-b')
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

describe('the style check', () => {
  it('finds nothing in a workspace that keeps the rules', () => {
    write('packages/driver-a/src/index.ts', "import { Graph } from '@diskgraph/core'\nimport 'node:fs'\n")
    expect(findProblems(folder)).toEqual([])
  })

  it("refuses node's modules in core", () => {
    write('packages/core/src/index.ts', "export { x } from 'node:fs'\n")
    write('packages/jobs/package.json', '{ "name": "@diskgraph/jobs", "private": true }')
    write('packages/jobs/src/index.ts', "import 'node:fs'\n")
    expect(findProblems(folder)).toEqual([
      "packages/core/src/index.ts: imports 'node:fs': '@diskgraph/core' runs in browsers too",
      "packages/jobs/src/index.ts: imports 'node:fs': '@diskgraph/jobs' runs in browsers too",
    ])
  })

  it('lets libraries take time and chance from the graph only', () => {
    write(
      'packages/driver-a/src/index.ts',
      '// Date.now() in a comment\nexport const late = () => setTimeout(() => {}, 1)\n',
    )
    write('packages/core/src/clock.ts', 'const now = () => Date.now()\n')
    expect(findProblems(folder)).toEqual([
      "packages/driver-a/src/index.ts: 'setTimeout': time and chance come from the graph (context.clock, random)",
    ])
  })

  it('refuses a driver that imports another one', () => {
    write('packages/driver-a/src/index.ts', "const b = await import('@diskgraph/driver-b')\n")
    expect(findProblems(folder)[0]).toMatch(/driver-a\/src\/index.ts: .* drivers do not import each other/)
  })

  it('refuses a relative import that leaves the package', () => {
    write('packages/driver-a/src/index.ts', "import { b } from '../../driver-b/src/index.ts'\n")
    expect(findProblems(folder)[0]).toMatch(/by its name only/)
  })

  it('refuses a package that package.json does not name', () => {
    write('packages/driver-b/src/index.ts', "import { Graph } from '@diskgraph/core'\n")
    expect(findProblems(folder)[0]).toMatch(/package.json of '@diskgraph\/driver-b' does not name it/)
  })

  it('takes no import from a comment', () => {
    write(
      'packages/core/src/index.ts',
      "/**\n * import { file } from '@diskgraph/driver-a'\n */\n// import 'node:fs'\n",
    )
    expect(findProblems(folder)).toEqual([])
  })

  it('asks every published package for a README with every heading', () => {
    rmSync(join(folder, 'packages/driver-a/README.md'))
    write('packages/driver-b/README.md', page.replace('## Limits', ''))
    expect(findProblems(folder)).toEqual([
      expect.stringMatching(/^packages\/driver-a\/README.md: is missing/),
      "packages/driver-b/README.md: has no heading 'Limits'",
    ])
  })

  it('asks no README of a private package', () => {
    write('bench/package.json', '{ "name": "bench", "private": true }')
    expect(findProblems(folder)).toEqual([])
  })

  it('refuses file and folder names that say nothing', () => {
    write('packages/driver-a/src/utils.ts', '')
    write('packages/driver-b/test/helpers/image.ts', '')
    expect(findProblems(folder)).toEqual([
      expect.stringMatching(/^packages\/driver-a\/src\/utils.ts: 'utils.ts' says nothing/),
      expect.stringMatching(/^packages\/driver-b\/test\/helpers\/image.ts: 'helpers' says nothing/),
    ])
  })

  it('refuses files that import each other in a circle, types and values alike', () => {
    write('packages/driver-a/src/index.ts', "import type { B } from './b.ts'\nexport const a = 1\n")
    write('packages/driver-a/src/b.ts', "import { c } from './c.ts'\nexport interface B {}\n")
    write('packages/driver-a/src/c.ts', "export const c = 1\nconst a = await import('./index.ts')\n")
    expect(findProblems(folder)).toEqual([
      expect.stringMatching(/src\/b.ts imports .*src\/c.ts imports .*src\/index.ts imports .*src\/b.ts: a circle/),
    ])
  })

  it('refuses folders that import each other in a circle', () => {
    write('packages/driver-a/src/low/a.ts', "import { b } from '../high/b.ts'\n")
    write('packages/driver-a/src/high/b.ts', 'export const b = 1\n')
    expect(findProblems(folder)).toEqual([])
    write('packages/driver-a/src/high/c.ts', "import { d } from '../low/d.ts'\n")
    write('packages/driver-a/src/low/d.ts', 'export const d = 1\n')
    expect(findProblems(folder)).toEqual([
      'packages/driver-a/src/high imports packages/driver-a/src/low imports packages/driver-a/src/high: ' +
        'a circle: let the lower one say by an interface of its own what it needs',
    ])
  })

  it('refuses exports that nobody imports, unless an entry of the package hands them out', () => {
    write('packages/core/src/a.ts', 'export const one = 1\nexport class Two {}\nexport interface Three {}\n')
    write('packages/core/src/index.ts', "export type { Three as Drei } from './a.ts'\nexport const four = 4\n")
    write('packages/core/test/a.test.ts', "import { one } from '../src/a.ts'\n")
    expect(findProblems(folder)).toEqual([
      "packages/core/src/a.ts: nobody imports 'Two': take its export away, or all of it",
    ])
    write('packages/core/src/b.ts', "export * from './a.ts'\n")
    expect(findProblems(folder)[0]).toMatch(/nobody imports 'Two'/)
    write('packages/core/src/index.ts', "export * from './a.ts'\n")
    expect(findProblems(folder)).toEqual([])
  })

  it("takes what core's internal entry hands out for dead until this workspace imports it", () => {
    write('packages/core/src/a.ts', 'export const one = 1\nexport const two = 2\n')
    write('packages/core/src/c.ts', 'export const three = 3\n')
    write('packages/core/src/internal.ts', "export { one, two } from './a.ts'\nexport * from './c.ts'\n")
    write('packages/driver-a/src/index.ts', "import { one } from '@diskgraph/core/internal'\n")
    expect(findProblems(folder)).toEqual([
      expect.stringMatching(/^packages\/core\/src\/internal.ts: nobody imports 'two'/),
      expect.stringMatching(/^packages\/core\/src\/a.ts: nobody imports 'two'/),
      expect.stringMatching(/^packages\/core\/src\/c.ts: nobody imports 'three'/),
    ])
  })

  it('refuses a source of more than 400 lines', () => {
    write('packages/core/src/index.ts', 'x\n'.repeat(400))
    expect(findProblems(folder)).toEqual([])
    write('packages/core/src/index.ts', 'x\n'.repeat(401))
    expect(findProblems(folder)[0]).toMatch(/401 lines, 400 are allowed/)
  })
})

function addPackage(name, fields = {}) {
  const exports = { '.': './dist/index.js', './internal': './dist/internal.js' }
  write(`packages/${name}/package.json`, JSON.stringify({ name: `@diskgraph/${name}`, exports, ...fields }))
  write(`packages/${name}/README.md`, page)
}

function write(path, text) {
  mkdirSync(dirname(join(folder, path)), { recursive: true })
  writeFileSync(join(folder, path), text)
}
