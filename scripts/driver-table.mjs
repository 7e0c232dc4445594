/*
 * `node scripts/driver-table.mjs`: writes the table of the drivers that come with the tools, each loaded when it is first
 * used. It is gathered from the package.json of every package that `apps/cli` is made with:
 *
 *     "diskgraph": { "drivers": { "null-co": { "export": "nullCo", "kind": "protocol", "prefixes": ["null-co"] } } }
 *
 * A test holds the table to the manifests, and the manifests to the drivers.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isProgram } from './processes.mjs'
import { packages, root } from './workspace.mjs'

const tools = 'apps/cli'
const table = join(root, tools, 'src', 'driver-table.ts')

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

function rowOf({ name, kind, prefixes, packageName, export: exported }) {
  const claimed = prefixes === undefined ? '' : `    prefixes: [${prefixes.map((one) => `'${one}'`).join(', ')}],\n`
  return `  {
    name: '${name}',
    kind: '${kind}',
${claimed}    load: async () => (await import('${packageName}')).${exported},
  },
`
}

/** The table as it stands in the tools now. */
export function writtenTable() {
  return readFileSync(table, 'utf8')
}

if (isProgram(import.meta.url)) {
  writeFileSync(table, tableText(toolDrivers()))
  process.stdout.write(`${table}: written\n`)
}
