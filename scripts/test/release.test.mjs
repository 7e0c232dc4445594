import { createRequire } from 'node:module'
import { describe, expect, it } from 'vitest'
import { withPeers } from '../release.mjs'
import { publicPackages } from '../tarballs.mjs'
import { readManifest, root } from '../workspace.mjs'

const inChangesets = createRequire(createRequire(import.meta.url).resolve('@changesets/cli/package.json'))
const assemble = inChangesets('@changesets/assemble-release-plan').default
const { parse } = inChangesets('@changesets/config')
const { getPackages } = inChangesets('@manypkg/get-packages')

const workspace = await getPackages(root)
for (const one of workspace.packages) {
  if (!one.packageJson.private) one.packageJson = { ...withPeers(one.packageJson, true), version: '0.3.1' }
}
const config = parse(createRequire(import.meta.url)('../../.changeset/config.json'), workspace)
const published = publicPackages().map(({ manifest }) => manifest.name)

/** The versions after a change of `name`. */
function versionsAfter(name, type) {
  const { releases } = assemble([{ id: 'one', summary: '', releases: [{ name, type }] }], workspace, config, undefined)
  return new Map(releases.map((release) => [release.name, release.newVersion]))
}

describe('a release', () => {
  const bundled = Object.keys(readManifest(root, 'apps/cli').devDependencies)

  it.each(bundled.filter((name) => published.includes(name)))('of %s is one of the programs', (name) => {
    expect(versionsAfter(name, 'patch').get('diskgraph')).toBe('0.3.2')
  })

  it('with a new minor version of core is one of all packages, and no major one', () => {
    const versions = versionsAfter('@diskgraph/core', 'minor')
    expect(published.map((name) => [name, versions.get(name)])).toEqual(published.map((name) => [name, '0.4.0']))
  })

  it('leaves the peers as they were', () => {
    for (const { manifest } of publicPackages()) expect(withPeers(withPeers(manifest, true), false)).toEqual(manifest)
    expect(withPeers(readManifest(root, 'packages/driver-null'), true).peerDependencies).toEqual({
      '@diskgraph/core': 'workspace:>=0.0.0',
    })
  })
})
