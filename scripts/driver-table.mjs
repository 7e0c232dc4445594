/*
 * `node scripts/driver-table.mjs`: writes the tables of the drivers that come with the programs, each loaded when it is
 * first used. They are gathered from the package.json of every package that `apps/cli` is made with; the storage daemon
 * has the same ones, and its package.json is made to name them:
 *
 *     "diskgraph": { "drivers": { "null-co": { "export": "nullCo", "kind": "protocol", "prefixes": ["null-co"] } } }
 *
 * A format that no image begins with says `"probe": false`, and is not loaded to look at one; one that goes by names says
 * `"probe": { "suffix": ".dmg" }`. A protocol that plain paths may belong to says `"claimsPaths": true`, and is loaded to be
 * asked. A test holds the table to the manifests, and the manifests to the drivers.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isProgram } from './processes.mjs'
import { packages, readManifest, root } from './workspace.mjs'

const tools = 'apps/cli'
const programs = [tools, 'apps/storage-daemon']

/** The drivers that come with the tools, by name: the folder of their package and what its package.json says of them. */
export function toolDrivers(folder = root) {
  const all = packages(folder)
  const wanted = all.find((one) => one.folder === tools)?.manifest.devDependencies ?? {}
  return all
    .filter(({ manifest }) => manifest.name in wanted)
    .flatMap(({ folder: path, manifest }) =>
      Object.entries(manifest.diskgraph?.drivers ?? {}).map(([name, entry]) => ({
        name,
        path,
        packageName: manifest.name,
        ...entry,
      })),
    )
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** The text of the table. */
export function tableText(drivers) {
  return `/** Written by scripts/driver-table.mjs from the package.json of each driver. */
import type { LazyDriver } from '@diskgraph/core'

/** The drivers that come with the tools. */
export const drivers: readonly LazyDriver[] = [
${drivers.map(rowOf).join('')}]
`
}

function rowOf({ name, kind, prefixes, probe, claimsPaths, packageName, export: exported }) {
  const driver = `(await import('${packageName}')).${exported}`
  const asked = claimsPaths ? `    claimsPath: async (path) => (await ${driver}.claimsPath?.(path)) ?? false,\n` : ''
  const unprobed = probe === undefined ? '' : `    probe: ${probeOf(probe)},\n`
  const claimed = prefixes === undefined ? '' : `    prefixes: [${prefixes.map((one) => `'${one}'`).join(', ')}],\n`
  return `  {
    name: '${name}',
    kind: '${kind}',
${claimed}${unprobed}${asked}    load: async () => ${driver},
  },
`
}

function probeOf({ suffix }) {
  return suffix === undefined ? '() => 0' : `(_head, filename) => (filename.endsWith('${suffix}') ? 2 : 0)`
}

/** The tables as they stand in the programs now. */
export function writtenTables() {
  return programs.map((program) => readFileSync(tableOf(program), 'utf8'))
}

function tableOf(program) {
  return join(root, program, 'src', 'driver-table.ts')
}

/** The development dependencies of `program` with the packages of `drivers` in place of those that it names now. */
export function withDrivers(manifest, drivers) {
  const others = Object.entries(manifest.devDependencies).filter(
    ([name]) => !name.startsWith('@diskgraph/driver-') || name === '@diskgraph/driver-testkit',
  )
  const own = drivers.map(({ packageName }) => [packageName, 'workspace:*'])
  return { ...manifest, devDependencies: Object.fromEntries([...others, ...own].sort(([a], [b]) => (a < b ? -1 : 1))) }
}

if (isProgram(import.meta.url)) {
  const drivers = toolDrivers()
  for (const program of programs) {
    writeFileSync(tableOf(program), tableText(drivers))
    const manifest = withDrivers(readManifest(root, program), drivers)
    writeFileSync(join(root, program, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
    process.stdout.write(`${tableOf(program)}: written\n`)
  }
}
