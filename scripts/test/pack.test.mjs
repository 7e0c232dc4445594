import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { emptyFolder, packRequest } from '../pack.mjs'

it('packs what is named, else all that is published', () => {
  const { folder, names } = packRequest(['out', '@diskgraph/core'], '/tmp')
  expect([folder, names]).toEqual(['/tmp/out', ['@diskgraph/core']])
  const all = packRequest(['/elsewhere'], '/tmp')
  expect(all.folder).toBe('/elsewhere')
  expect(all.names).toEqual(expect.arrayContaining(['@diskgraph/core', '@diskgraph/driver-qcow2', 'diskgraph']))
  expect(all.names).not.toContain('@diskgraph/browser-suite')
})

it('refuses no folder, packages that are none, and a folder with something in it', () => {
  expect(() => packRequest([], '/tmp')).toThrow('pack: say into which folder')
  expect(() => packRequest(['out', 'nosuch'], '/tmp')).toThrow("pack: no package 'nosuch' is published from here")
  const folder = mkdtempSync(join(tmpdir(), 'pack-'))
  try {
    emptyFolder(join(folder, 'new/one'))
    expect(() => emptyFolder(folder)).toThrow('is not empty')
  } finally {
    rmSync(folder, { recursive: true })
  }
})
