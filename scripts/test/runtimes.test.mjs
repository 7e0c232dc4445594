import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { root } from '../workspace.mjs'

it('the run in other runtimes refuses a name that it does not know, and says which it knows', () => {
  const { status, stderr } = spawnSync(process.execPath, [join(root, 'scripts', 'runtimes.mjs'), 'node21'], {
    encoding: 'utf8',
  })
  expect(status).toBe(1)
  expect(stderr).toContain("no runtime is called 'node21': node20, node22, node24, node26, bun, deno")
})
