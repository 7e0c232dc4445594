/*
 * The rules of this project that no linter knows. Each rule is a function from the workspace to problems, and each
 * problem says the file, what is wrong and what to do.
 */
import { existsSync, readFileSync } from 'node:fs'
import { basename, join, posix } from 'node:path'
import { circleProblems, deadExportProblems } from './imports.mjs'
import { isProgram } from './processes.mjs'
import { packages, root, sourceFiles } from './workspace.mjs'

const headings = ['What', 'When to use it', 'Install', 'Use', 'Options', 'Limits', 'Differences from QEMU']
const refusedNames = new Set(['util', 'utils', 'helper', 'helpers', 'misc', 'common'])
const longestFile = 400
const testkit = '@diskgraph/driver-testkit'
const portable = new Set(
  ['core', 'clusters', 'devices', 'jobs', 'qapi', 'sparse', 'throttle'].map((name) => `packages/${name}`),
)
// Time and chance; the one file that asks the system for them is core's clock.ts. Tools and the kit live outside of a graph.
const systemTime =
  /\b(?:Date\.now|Math\.random|performance\.now|setTimeout|setInterval|setImmediate|randomUUID|getRandomValues)\b|\bnew Date\(\)/
const code = /\.(ts|tsx|mts|js|mjs)$/
const imported = /(?:\bfrom|\bimport|\bimport\s*\(|\brequire\s*\()\s*(['"])([^'"\n]+)\1/g

/** Every problem of the workspace at `folder`, as lines `path: what is wrong`. */
export function findProblems(folder = root) {
  const found = packages(folder)
  const files = [...found.flatMap(({ folder: name }) => readAll(folder, name)), ...readAll(folder, 'scripts')]
  return [
    ...found.flatMap((one) => packageProblems(folder, one)),
    ...files.flatMap((file) => fileProblems(file)),
    ...found.flatMap((one) => {
      const own = files.filter((file) => file.owner === one.folder)
      return [...importProblems(one, own), ...circleProblems(own)]
    }),
    ...deadExportProblems(found, files),
  ]
}

function readAll(folder, owner) {
  const names = sourceFiles(join(folder, owner)).filter((name) => code.test(name))
  return names.map((name) => {
    const text = readFileSync(join(folder, owner, name), 'utf8')
    return { owner, name, path: `${owner}/${name}`, lines: text.split('\n').length - 1, text: withoutComments(text) }
  })
}

function packageProblems(folder, { folder: name, manifest }) {
  if (manifest.private === true) return []
  const page = `${name}/README.md`
  if (!existsSync(join(folder, page))) return [`${page}: is missing: every package has one, with ${list(headings)}`]
  const titles = new Set(
    [...readFileSync(join(folder, page), 'utf8').matchAll(/^#{2,3}\s+(.+?)\s*$/gm)].map((match) => match[1]),
  )
  const missing = headings.filter((heading) => !titles.has(heading))
  return missing.length > 0 ? [`${page}: has no heading ${list(missing)}`] : []
}

function fileProblems({ path, name, text, lines }) {
  const problems = []
  const unseeded = asksSystem(path) ? systemTime.exec(text) : null
  if (unseeded) problems.push(`${path}: '${unseeded[0]}': time and chance come from the graph (context.clock, random)`)
  const refused = name.split('/').find((part) => refusedNames.has(part.split('.')[0].toLowerCase()))
  if (refused) problems.push(`${path}: '${refused}' says nothing: name the file after the one idea in it`)
  if (name.startsWith('test/')) return problems
  if (lines > longestFile) problems.push(`${path}: ${lines} lines, ${longestFile} are allowed: split it by noun`)
  return problems
}

function asksSystem(path) {
  return (
    /^packages\/(clusters|codecs|core|devices|jobs|sparse|throttle|driver-(?!testkit))[^/]*\/src\//.test(path) &&
    path !== 'packages/core/src/clock.ts'
  )
}

function importProblems({ folder, manifest }, files) {
  const problems = []
  const declared = new Set([manifest.name, ...dependencyNames(manifest)])
  for (const file of files.filter(({ name }) => name.startsWith('src/'))) {
    for (const [, , target] of file.text.matchAll(imported)) {
      const problem = importProblem(folder, manifest.name, declared, file, target)
      if (problem) problems.push(`${file.path}: imports '${target}': ${problem}`)
    }
  }
  return problems
}

function importProblem(folder, packageName, declared, { path }, target) {
  if (target.startsWith('.')) {
    const inside = posix.join(path, '..', target).startsWith(`${folder}/`)
    return inside ? undefined : 'a package reaches another one by its name only'
  }
  if (portable.has(folder) && target.startsWith('node:')) return `'${packageName}' runs in browsers too`
  if (!target.startsWith('@diskgraph/')) return undefined
  const name = target.split('/').slice(0, 2).join('/')
  if (name === packageName) return undefined
  if (folder === 'packages/core') return 'core depends on no other package'
  if (isDriver(packageName) && isDriver(name))
    return 'drivers do not import each other: reach the other node through the graph'
  if (isDriver(packageName) && name === testkit) return 'the kit is for tests'
  return declared.has(name) ? undefined : `package.json of '${packageName}' does not name it`
}

function isDriver(name) {
  return name.startsWith('@diskgraph/driver-') && name !== testkit
}

function dependencyNames({ dependencies, peerDependencies, devDependencies, optionalDependencies }) {
  return Object.keys({ ...dependencies, ...peerDependencies, ...devDependencies, ...optionalDependencies })
}

/** The text without its comments, so that an example in TSDoc is not taken for an import. */
function withoutComments(text) {
  return text.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
}

function list(names) {
  return names.map((name) => `'${name}'`).join(', ')
}

if (isProgram(import.meta.url)) {
  const problems = findProblems()
  for (const problem of problems) process.stdout.write(`${problem}\n`)
  const verdict = problems.length === 0 ? 'the rules of the project are kept' : `${problems.length} problems`
  process.stdout.write(`${basename(process.argv[1])}: ${verdict}\n`)
  if (problems.length > 0) process.exitCode = 1
}
