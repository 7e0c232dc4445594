import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, it } from 'vitest'
import { filesIn } from '../tarballs.mjs'

it('reads names and contents of a tarball, long names and empty files included', () => {
  const folder = mkdtempSync(join(tmpdir(), 'diskgraph-tarball-'))
  try {
    const files = {
      'package.json': '{}',
      [`src/${'long/'.repeat(22)}name.ts`]: 'export {}\n'.repeat(100),
      'dist/empty.js': '',
    }
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(join(folder, 'package', dirname(name)), { recursive: true })
      writeFileSync(join(folder, 'package', name), text)
    }
    const names = Object.keys(files).map((name) => `package/${name}`)
    expect(spawnSync('tar', ['--format=ustar', '-czf', 'one.tgz', ...names], { cwd: folder }).status).toBe(0)
    const found = filesIn(join(folder, 'one.tgz'))
    expect(found.map(({ name, content }) => [name, content.toString()])).toEqual(Object.entries(files))
    expect(found.map(({ blocks }) => blocks.length)).toEqual([1024, 1536, 512])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
