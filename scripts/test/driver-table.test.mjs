import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { tableText, toolDrivers, withDrivers, writtenTables } from '../driver-table.mjs'
import { packages, readManifest, root } from '../workspace.mjs'

const found = toolDrivers()

describe('the drivers of the tools', () => {
  it('are those of the manifests: else run node scripts/driver-table.mjs', () => {
    expect(found.length).toBeGreaterThanOrEqual(12)
    expect(writtenTables()).toEqual([tableText(found), tableText(found)])
    const daemon = readManifest(root, 'apps/storage-daemon')
    expect(withDrivers(daemon, found)).toEqual(daemon)
  })

  it.each(found)(
    '$name is what its package.json says',
    async ({ name, path, kind, prefixes, claimsPaths, export: exported }) => {
      const driver = (await import(join(root, path, 'src', 'index.ts')))[exported]
      expect(driver).toMatchObject({ name, kind })
      expect(driver.prefixes).toEqual(prefixes)
      expect(driver.claimsPath !== undefined).toBe(claimsPaths === true)
    },
  )

  it('leave out no driver of a package that says what it has', () => {
    const told = packages().flatMap(({ manifest }) => Object.keys(manifest.diskgraph?.drivers ?? {}))
    expect(told.sort()).toEqual(found.map(({ name }) => name))
  })
})
