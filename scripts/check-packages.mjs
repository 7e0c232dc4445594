/*
 * Packs every published package and judges the tarball as an installer would see it:
 *
 *   files     what is in it and what is not, and what package.json says (packed-files.mjs)
 *   npm       what it would publish are the same files
 *   publint   the fields of package.json against the files
 *   attw      the types as each module resolution finds them. Old node, which knows no `exports`, is left out
 *   require   each entry loads by `import` and by `require()`, installed beside the others, and both are one module
 */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { packingProblems } from './packed-files.mjs'
import { runNpm, runQuietly } from './processes.mjs'
import { filesIn, packInto, publicPackages } from './tarballs.mjs'
import { root } from './workspace.mjs'

const folder = mkdtempSync(join(tmpdir(), 'diskgraph-packages-'))
try {
  const found = publicPackages()
  const tarballs = packInto(
    folder,
    found.map(({ manifest }) => manifest.name),
  )
  installAll([...tarballs.values()])
  const byNpm = filesByNpm(found.map((one) => one.folder))
  const unloadable = loadProblems(found.flatMap(entriesOf))
  for (const problem of unloadable) process.stdout.write(`${problem}\n`)
  let failed = 0
  for (const one of found) {
    const problems = await check(one, tarballs.get(one.manifest.name), byNpm)
    for (const problem of problems) process.stdout.write(`${one.folder}: ${problem}\n`)
    if (problems.length > 0) failed++
  }
  process.stdout.write(`${found.length - failed} of ${found.length} packages are fit to publish\n`)
  process.exitCode = failed + unloadable.length > 0 ? 1 : 0
} finally {
  rmSync(folder, { recursive: true, force: true })
}

function installAll(tarballs) {
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
  runNpm('install', ['install', '--ignore-scripts', '--no-audit', '--no-fund', ...tarballs], folder)
}

function entriesOf({ manifest }) {
  const entries = Object.keys(manifest.exports ?? {}).filter((entry) => !entry.endsWith('.json'))
  return entries.map((entry) => join(manifest.name, entry))
}

async function check({ folder: home, manifest }, tarball, byNpm) {
  const files = new Map(filesIn(tarball).map(({ name, content }) => [name, content]))
  const problems = [...packingProblems(home, files), ...difference([...files.keys()], byNpm.get(manifest.name))]
  problems.push(...(await publintProblems(readFileSync(tarball))))
  if (manifest.exports) problems.push(...(await attwProblems(readFileSync(tarball))))
  return problems
}

/** The names of the files that npm would publish, by package. */
function filesByNpm(folders) {
  const output = runNpm('npm pack', ['pack', '--dry-run', '--json', ...folders.map((one) => `./${one}`)], root)
  const packed = Object.values(JSON.parse(output))
  return new Map(packed.map(({ name, files }) => [name, files.map(({ path }) => path)]))
}

function difference(byPnpm, byNpm) {
  return [
    ...byNpm.filter((name) => !byPnpm.includes(name)).map((name) => `'${name}' is packed by npm, and not by pnpm`),
    ...byPnpm.filter((name) => !byNpm.includes(name)).map((name) => `'${name}' is packed by pnpm, and not by npm`),
  ]
}

async function publintProblems(bytes) {
  const tarball = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)
  const { messages, pkg } = await publint({ pack: { tarball }, level: 'warning', strict: true })
  return messages.map((message) => `publint: ${formatMessage(message, pkg, { color: false })}`)
}

/** `require()` of a module is what every supported Node has; attw still warns of it. `loadProblems` tries it. */
async function attwProblems(bytes) {
  const result = await checkPackage(createPackageFromTarballData(new Uint8Array(bytes)))
  if (!result.types) return ['attw: the package has no types']
  return result.problems
    .filter(({ kind }) => kind !== 'CJSResolvesToESM')
    .filter((problem) => problem.resolutionKind !== 'node10' && problem.resolutionOption !== 'node10')
    .map((problem) =>
      `attw: ${problem.kind} ${problem.entrypoint ?? problem.fileName ?? ''} ${problem.resolutionKind ?? ''}`.trim(),
    )
}

/** Loads each entry in one process, beside the others. */
function loadProblems(entries) {
  const script = `
    let problems = []
    process.on('exit', () => console.log(JSON.stringify(problems)))
    const load = async (entry) => {
      const [module, required] = [await import(entry), require(entry)]
      for (const name in module) if (module[name] !== required[name]) throw new Error(name + ' is another value by require()')
    }
    const fail = (entry) => (error) => problems.push(entry + ' does not load by import and require(): ' + error.message)
    Promise.all(${JSON.stringify(entries)}.map((entry) => load(entry).catch(fail(entry))))`
  return JSON.parse(runQuietly('load', process.execPath, ['--no-warnings', '-e', script], { cwd: folder }))
}
