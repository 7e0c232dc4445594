/*
 * What a minimal user downloads: core, the file driver and the qcow2 driver, with what they need. Packs them, sums the
 * bytes of the tarballs, installs them into an empty folder, and lists the files that an import of the three loads.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { isProgram, runNpm, runQuietly } from './processes.mjs'
import { packInto } from './tarballs.mjs'
import { packages } from './workspace.mjs'

const wanted = ['@diskgraph/core', '@diskgraph/driver-file', '@diskgraph/driver-qcow2']
/** Bytes that a minimal install is to come to, and those that it may have until it does. */
const goal = 150_000
const limit = 160_000

/** The wanted packages, and those of the workspace they need, that are not there. */
export function missingPackages(names = wanted) {
  const present = new Set(packages().map(({ manifest }) => manifest.name))
  return needed(names).filter((name) => !present.has(name))
}

/** The given packages and every package of the workspace that installs with them. */
function needed(names) {
  const found = new Set(names)
  for (const name of found) for (const other of requirements(name)) if (isOurs(other)) found.add(other)
  return [...found]
}

/** What npm installs with the package `name` of the workspace: its dependencies and its peers that are not optional. */
function requirements(name) {
  const manifest = packages().find((one) => one.manifest.name === name)?.manifest ?? {}
  const { dependencies = {}, peerDependencies = {}, peerDependenciesMeta = {} } = manifest
  const peers = Object.keys(peerDependencies).filter((peer) => !peerDependenciesMeta[peer]?.optional)
  return [...Object.keys(dependencies), ...peers]
}

function isOurs(name) {
  return name.startsWith('@diskgraph/')
}

function measure(names) {
  const folder = mkdtempSync(join(tmpdir(), 'diskgraph-size-'))
  try {
    const own = needed(names)
    const packed = packInto(folder, own)
    const tarballs = [...packed.values()]
    const sizes = new Map([...packed].map(([name, path]) => [name, statSync(path).size]))
    writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n')
    runNpm('size', ['install', '--ignore-scripts', '--no-audit', '--no-fund', ...tarballs], folder)
    return { sizes, strangers: loadedStrangers(folder, names, own) }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The files that an import of `names` loads and that neither `own` nor their dependencies hold, by node's coverage. */
function loadedStrangers(folder, names, own) {
  const entry = join(folder, 'entry.js')
  const coverage = join(folder, 'coverage')
  writeFileSync(entry, names.map((name) => `import '${name}'\n`).join(''))
  const env = { ...process.env, NODE_V8_COVERAGE: coverage }
  runQuietly('size: import', process.execPath, [entry], { cwd: folder, env })
  const scripts = readdirSync(coverage).flatMap((name) => JSON.parse(readFileSync(join(coverage, name), 'utf8')).result)
  const expected = [...new Set([...own, ...own.flatMap(requirements)])]
  const homes = expected.map((name) => pathToFileURL(join(folder, 'node_modules', name)).href)
  return scripts
    .map(({ url }) => url)
    .filter((url) => url.startsWith('file:') && url !== pathToFileURL(entry).href)
    .filter((url) => !homes.some((home) => url.startsWith(`${home}/`)))
    .map((url) => fileURLToPath(url))
}

function main(names) {
  const missing = missingPackages(names)
  if (missing.length > 0) {
    process.stdout.write(`nothing is measured: not in the workspace yet: ${missing.join(', ')}\n`)
    return
  }
  const { sizes, strangers } = measure(names)
  let total = 0
  for (const [name, size] of sizes) {
    process.stdout.write(`${String(size).padStart(8)}  ${name}\n`)
    total += size
  }
  process.stdout.write(
    `${String(total).padStart(8)}  bytes of tarballs in all; ${limit} are allowed, ${goal} are the goal\n`,
  )
  for (const path of strangers) process.stdout.write(`importing ${names.join(', ')} also loads '${path}'\n`)
  if (total >= limit || strangers.length > 0) process.exitCode = 1
}

if (isProgram(import.meta.url)) main(process.argv.length > 2 ? process.argv.slice(2) : wanted)
