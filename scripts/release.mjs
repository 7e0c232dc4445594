/*
 * `npm run release -- version` turns the changesets into versions and changelogs; `npm run release -- publish` publishes
 * what the registry does not have. All packages have one version, so the programs, which bundle the drivers, are
 * released whenever one of them is.
 *
 * Peers are `workspace:^`: published, a driver takes the core of its own minor version, and of no later one. Changesets
 * calls a peer that leaves its range a breaking change, and would make version 1 of the first minor version; here all
 * ranges move along. So it sees them open while it counts.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isProgram, packageManager, runInForeground, toolEnvironment, toolScript } from './processes.mjs'
import { setUp } from './setup.mjs'
import { publicPackages } from './tarballs.mjs'
import { root } from './workspace.mjs'

const peer = 'workspace:^'
const openPeer = 'workspace:>=0.0.0'

/** The manifest with peers of the workspace open to every version (true), or as they are published. */
export function withPeers(manifest, open) {
  const [from, to] = open ? [peer, openPeer] : [openPeer, peer]
  const peers = Object.entries(manifest.peerDependencies ?? {}).map(([name, range]) => [
    name,
    range === from ? to : range,
  ])
  return peers.length > 0 ? { ...manifest, peerDependencies: Object.fromEntries(peers) } : manifest
}

function setPeers(open) {
  for (const { folder, manifest } of publicPackages()) {
    writeFileSync(join(root, folder, 'package.json'), `${JSON.stringify(withPeers(manifest, open), null, 2)}\n`)
  }
}

async function version() {
  setPeers(true)
  try {
    return await tool('@changesets/cli', 'changeset', 'version')
  } finally {
    setPeers(false)
    await tool('@biomejs/biome', 'biome', 'format', '--write', 'packages', 'apps')
  }
}

function tool(packageName, command, ...args) {
  return runInForeground(process.execPath, [toolScript(packageName, command), ...args], { cwd: root })
}

/** By the pinned pnpm, which changesets finds in the path. */
function publish() {
  setUp()
  const args = ['-y', packageManager(), 'exec', 'changeset', 'publish']
  return runInForeground('npx', args, { cwd: root, env: { ...toolEnvironment(), NPM_CONFIG_PROVENANCE: 'true' } })
}

const commands = { version, publish }

if (isProgram(import.meta.url)) {
  const command = commands[process.argv[2]]
  if (command) process.exitCode = await command()
  else throw new Error(`release: say what to do: ${Object.keys(commands).join(' or ')}`)
}
