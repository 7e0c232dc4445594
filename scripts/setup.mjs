/*
 * Set-up: everything between a fresh clone and commands that run, with nothing but node and npm.
 *
 * Three steps, each skipped when it has nothing to do:
 *
 *   install   when a package.json or the lockfile differs from the last successful install
 *   build     when a source file differs from the last successful build, or a built file is missing
 *   link      when a command is not in node_modules/.bin
 *
 * What was done last is remembered as two hashes in node_modules/.cache/diskgraph/setup.json, so removing node_modules
 * forgets it. A hash is written only after its step has succeeded, so an interrupted set-up is taken up again.
 *
 * The commands are linked here and not by pnpm: pnpm links a command only when its file exists, and these files exist
 * only after the build. A plain symbolic link also starts faster than pnpm's shell script, and the tool sees the name
 * that it was called by.
 */
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { isProgram, packageManager, runPnpm } from './processes.mjs'
import { packages, root, sourceFiles } from './workspace.mjs'

const oldestNode = [20, 19]
const windows = process.platform === 'win32'
const binFolder = join(root, 'node_modules', '.bin')
const installMark = join(root, 'node_modules', '.modules.yaml') // pnpm writes it last
const memory = join(root, 'node_modules', '.cache', 'diskgraph', 'setup.json')
const sharedBuildFiles = [
  'package.json',
  'pnpm-lock.yaml',
  'tsconfig.base.json',
  'tsconfig.json',
  'tsup.config.ts',
  'scripts/build-package.mjs',
  'turbo.json',
]

/**
 * Installs, builds and links whatever is not up to date. Says what it does on stderr, one line per step, and nothing
 * when there is nothing to do. Throws with the output of the tool that failed.
 */
export function setUp() {
  refuseOldNode()
  const found = packages()
  const done = recall()
  const installHash = hashOf(['pnpm-lock.yaml', 'pnpm-workspace.yaml', 'package.json', ...found.map(manifestFile)])
  if (done.install !== installHash || !existsSync(installMark)) {
    done.install = undefined
    remember(done)
    install()
    remember(Object.assign(done, { install: installHash }))
  }
  const buildHash = hashOf([...sharedBuildFiles, ...found.flatMap(buildInputs)])
  if (done.build !== buildHash || !found.every(isBuilt)) {
    build(found)
    remember(Object.assign(done, { build: buildHash }))
  }
  for (const { folder, manifest } of found) linkCommands(folder, manifest)
}

function refuseOldNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1])) return
  throw new Error(`node ${process.versions.node} is too old: install node ${oldestNode.join('.')} or newer`)
}

function install() {
  say('installing dependencies')
  try {
    runPnpm('set-up: install', ['install', '--frozen-lockfile'])
  } catch (error) {
    if (!error.message.includes('ERR_PNPM_OUTDATED_LOCKFILE')) throw error
    const advice = `run 'npx -y ${packageManager()} install' to bring it up to date`
    throw new Error(`set-up: install: pnpm-lock.yaml does not fit every package.json: ${advice}`, { cause: error })
  }
}

function build(found) {
  say(`building ${found.filter(hasBuild).length} packages`)
  const args = ['exec', 'turbo', 'run', 'build', '--concurrency=2', '--output-logs=errors-only']
  runPnpm('set-up: build', args)
  const missing = found.filter((one) => !isBuilt(one)).map(({ folder }) => folder)
  if (missing.length > 0)
    throw new Error(`set-up: the build left out a file that package.json names: ${missing.join(', ')}`)
}

function linkCommands(folder, { bin = {} }) {
  for (const [command, file] of Object.entries(bin)) {
    const target = relative(binFolder, join(root, folder, file))
    if (windows) writeWindowsCommand(command, target)
    else linkCommand(command, target)
  }
}

function linkCommand(command, target) {
  const link = join(binFolder, command)
  if (linkTarget(link) === target) return
  rmSync(link, { force: true })
  chmodSync(join(binFolder, target), 0o755)
  symlinkSync(target, link)
}

function linkTarget(link) {
  try {
    return readlinkSync(link)
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'EINVAL') return undefined
    throw error
  }
}

function writeWindowsCommand(command, target) {
  const file = join(binFolder, `${command}.cmd`)
  const text = `@node "%~dp0\\${target}" %*\r\n`
  if (!existsSync(file) || readFileSync(file, 'utf8') !== text) writeFileSync(file, text)
}

function manifestFile({ folder }) {
  return `${folder}/package.json`
}

function hasBuild({ manifest }) {
  return manifest.scripts?.build !== undefined
}

/** Everything in a package that a build may read: all but tests and pages for people. */
function buildInputs({ folder }) {
  const files = sourceFiles(join(root, folder)).filter((name) => !/^(test|fixtures)\/|\.md$/.test(name))
  return files.map((name) => `${folder}/${name}`)
}

/** Whether every file of `dist` that package.json promises is there. */
function isBuilt({ folder, manifest }) {
  const named = JSON.stringify([manifest.exports, manifest.bin, manifest.man]).match(/(\.\/)?dist\/[^"*]+(?=")/g) ?? []
  const promised = [...named, ...(manifest.files ?? [])]
  return !manifest.scripts?.build || promised.every((name) => existsSync(join(root, folder, name)))
}

function hashOf(names) {
  const hash = createHash('sha256').update(`${process.platform} ${process.arch}\n`)
  for (const name of names) {
    const bytes = readFileSync(join(root, name))
    hash.update(`${name} ${bytes.length}\n`).update(bytes)
  }
  return hash.digest('hex')
}

function recall() {
  try {
    return JSON.parse(readFileSync(memory, 'utf8'))
  } catch {
    return {}
  }
}

function remember(done) {
  mkdirSync(dirname(memory), { recursive: true })
  writeFileSync(memory, JSON.stringify(done))
}

function say(text) {
  process.stderr.write(`set-up: ${text}…\n`)
}

if (isProgram(import.meta.url)) {
  try {
    setUp()
  } catch (error) {
    process.stderr.write(`${error.message}\n`)
    process.exitCode = 1
  }
}
