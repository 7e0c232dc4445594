import { describe, expect, it } from 'vitest'
import { withoutNotes } from '../build-package.mjs'
import { noticesName } from '../notices.mjs'
import { packingProblems } from '../packed-files.mjs'
import { readManifest, root } from '../workspace.mjs'

const manifest = {
  ...readManifest(root, 'packages/driver-null'),
  peerDependencies: { '@diskgraph/core': '^0.3.0' },
}

/** The problems of a package that is in order, but for `changes` of its manifest and `others`: files, or undefined. */
function problemsWith(changes = {}, others = {}) {
  const files = {
    LICENSE: 'MIT',
    'README.md': '# null',
    'package.json': JSON.stringify({ ...manifest, ...changes }),
    'dist/index.js': 'export {}\n//# sourceMappingURL=index.js.map\n',
    'dist/index.js.map': JSON.stringify({ sources: ['../src/index.ts'] }),
    'dist/index.d.ts': 'export {}',
    'src/index.ts': 'export {}',
    ...others,
  }
  const packed = Object.entries(files).filter(([, content]) => content !== undefined)
  return packingProblems('packages/driver-null', new Map(packed.map(([name, text]) => [name, Buffer.from(text)])))
}

describe('the check of packed files', () => {
  it('finds nothing wrong with a package in order', () => {
    expect(problemsWith()).toEqual([])
  })

  it('misses the licence', () => {
    expect(problemsWith({}, { LICENSE: undefined })).toEqual(["'LICENSE' is not packed"])
  })

  it('refuses tests, settings and what else does not belong there', () => {
    const strange = ['test/null.test.ts', 'tsup.config.ts', 'dist/notes.txt', 'src/index.js']
    const problems = problemsWith({}, Object.fromEntries(strange.map((name) => [name, ''])))
    expect(problems).toEqual(strange.map((name) => `'${name}' is packed and should not be`))
  })

  it('refuses a module without a map, and a map to sources that are not there', () => {
    expect(problemsWith({}, { 'dist/index.js': 'export {}' })).toEqual(["'dist/index.js' has no source map"])
    expect(problemsWith({}, { 'src/index.ts': undefined })).toEqual([
      "'dist/index.js.map' leads to '../src/index.ts', which is not packed",
    ])
  })

  it('takes a map that holds its sources', () => {
    const map = JSON.stringify({ sources: ['../src/index.ts'], sourcesContent: ['export {}'] })
    expect(problemsWith({}, { 'src/index.ts': undefined, 'dist/index.js.map': map })).toEqual([])
  })

  it('refuses a bundle with a library whose licence does not go along', () => {
    const sources = ['../src/index.ts', '../../../node_modules/.pnpm/a@1/node_modules/a/x.js', 'node_modules/@b/c/y.js']
    const map = { 'dist/index.js.map': JSON.stringify({ sources, sourcesContent: sources }) }
    const missing = (name) =>
      `'dist/index.js.map' holds parts of '${name}', whose licence is not in 'dist/${noticesName}'`
    expect(problemsWith({}, map)).toEqual([missing('a'), missing('@b/c')])
    const line = '='.repeat(78)
    const notices = `${line}\n@b/c 1.0.0 (MIT)\n${line}\n\nMIT License\n`
    expect(problemsWith({}, { ...map, [`dist/${noticesName}`]: notices })).toEqual([missing('a')])
  })

  it('refuses a manifest that names another folder, or publishes without provenance', () => {
    const repository = { ...manifest.repository, directory: 'packages/core' }
    expect(problemsWith({ repository })).toEqual(["package.json: repository.directory is not 'packages/driver-null'"])
    expect(problemsWith({ publishConfig: { access: 'public' } })).toEqual([
      'package.json: publishConfig is not public with provenance',
    ])
  })

  it('refuses conditions under which require() finds nothing', () => {
    const exports = { '.': { import: { types: './dist/index.d.ts', default: './dist/index.js' } } }
    expect(problemsWith({ exports })).toEqual(["exports of '.' have the condition 'import'"])
  })

  it.each(['>=0.0.0 <1', '*', '^0.3.0 || ^0.4.0'])('refuses a peer that may be any of %s', (range) => {
    expect(problemsWith({ peerDependencies: { '@diskgraph/core': range } })).toHaveLength(1)
  })

  it('refuses a range that only the workspace understands', () => {
    expect(problemsWith({ dependencies: { '@diskgraph/posix': 'workspace:^' } })).toEqual([
      "'@diskgraph/posix' is packed with the range 'workspace:^'",
    ])
  })
})

describe('built declarations', () => {
  it('lose comments that document nothing, and keep the others', () => {
    const kept = '/** What it is.\n * And more. */\ninterface One {\n    /** A member. */\n\n    a: 1;\n}\n'
    expect(withoutNotes(`/**\n * A design note.\n */\n\n${kept}/** Another. */\n\n${kept}`)).toBe(kept + kept)
  })
})
