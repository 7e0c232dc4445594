/*
 * `npm run mutation -- packages/core [--tests a,b] [file …]`: deliberate faults in the sources of one package, and
 * whether its own tests notice them. Files are named from the package's `src` (`change.ts`); without any, all are
 * mutated. `--tests` chooses the test files that judge (`cow` is `test/cow.test.ts`), for packages whose tests as a
 * whole are slow; they have to be fast, and get little time. Results are kept in `.mutation/` (outside git) and taken
 * up by the next run, so only what changed is tried again.
 *
 * It ends with a table by file, and the mutants that survived are listed in `.mutation/<package>.survivors.txt`.
 * Exit code 1: one file or more is below the bar.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { runInForeground, toolEnvironment, toolScript } from './processes.mjs'
import { root, sourceFiles } from './workspace.mjs'

const usage = 'usage: npm run mutation -- packages/<name> [--tests name,…] [file …]'
const bar = 85
const folder = join(root, '.mutation')
const { values, positionals } = readArguments()
const [owner, ...chosen] = positionals
const tests = values.tests?.split(',') ?? []

if (owner === undefined || !existsSync(join(root, owner, 'src'))) refuse(usage)
const files = chosen.length > 0 ? chosen : sourceFiles(join(root, owner, 'src'))
const missing = files.filter((file) => !existsSync(join(root, owner, 'src', file)))
if (missing.length > 0) refuse(`there is no ${missing.map((file) => `'${owner}/src/${file}'`).join(', ')}`)
const missingTests = tests.filter((name) => !existsSync(join(root, owner, 'test', `${name}.test.ts`)))
if (missingTests.length > 0) refuse(`there is no test file ${missingTests.map((name) => `'${name}'`).join(', ')}`)
process.exitCode = (await mutate()) || report()

function readArguments() {
  try {
    return parseArgs({ allowPositionals: true, options: { tests: { type: 'string' } } })
  } catch (error) {
    return refuse(`${error.message}\n${usage}`)
  }
}

function refuse(message) {
  process.stderr.write(`${message}\n`)
  process.exit(2)
}

/** Runs Stryker; its exit code. */
function mutate() {
  const name = owner.replaceAll('/', '-')
  mkdirSync(folder, { recursive: true })
  const settings = {
    mutate: files.map((file) => `${owner}/src/${file}`),
    testRunner: 'vitest',
    vitest: { configFile: 'scripts/mutation.config.ts', related: false },
    plugins: ['@stryker-mutator/vitest-runner'],
    reporters: ['json', 'progress-append-only'],
    jsonReporter: { fileName: join(folder, `${name}.json`) },
    incremental: true,
    incrementalFile: join(folder, `${name}.incremental.json`),
    tempDirName: '.mutation/sandbox',
    ignorePatterns: ['.git', '.turbo', 'dist', 'coverage', 'bench', 'apps', '.mutation'],
    ignoreStatic: true,
    concurrency: 2,
    timeoutMS: tests.length > 0 ? 5_000 : 10_000,
    timeoutFactor: 3,
    disableTypeChecks: false,
    allowEmpty: true,
    thresholds: { break: null },
  }
  const config = join(folder, `${name}.config.json`)
  writeFileSync(config, JSON.stringify(settings, null, 2))
  const env = { ...toolEnvironment(), MUTATION_PACKAGE: owner, MUTATION_TESTS: tests.join(',') }
  return runInForeground(process.execPath, [toolScript('@stryker-mutator/core', 'stryker'), 'run', config], {
    cwd: root,
    env,
  })
}

/** Prints the table and writes the survivors; 1 when a file is below the bar. */
function report() {
  const name = owner.replaceAll('/', '-')
  const { files: found } = JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8'))
  const rows = []
  const survivors = []
  for (const file of files) {
    const { mutants = [], source = '' } = found[`${owner}/src/${file}`] ?? {}
    rows.push(row(file, mutants))
    for (const mutant of mutants.filter(isAlive)) survivors.push(describe(file, mutant, source))
  }
  const all = files.flatMap((file) => found[`${owner}/src/${file}`]?.mutants ?? [])
  const lines = [['file', 'killed', 'timeout', 'survived', 'no coverage', 'per cent'], ...rows, row('all', all)]
  for (const [first, ...rest] of lines) {
    process.stdout.write(`${first.padEnd(24)}${rest.map((cell) => String(cell).padStart(12)).join('')}\n`)
  }
  writeFileSync(join(folder, `${name}.survivors.txt`), survivors.join('\n'))
  process.stdout.write(`${survivors.length} survivors: .mutation/${name}.survivors.txt\n`)
  return rows.some(([, , , , , score]) => Number(score) < bar) ? 1 : 0
}

function row(name, mutants) {
  const count = (...kinds) => mutants.filter(({ status }) => kinds.includes(status)).length
  const [killed, timeout, survived, uncovered] = ['Killed', 'Timeout', 'Survived', 'NoCoverage'].map((kind) =>
    count(kind),
  )
  const total = killed + timeout + survived + uncovered
  const score = total === 0 ? '-' : (((killed + timeout) / total) * 100).toFixed(1)
  return [name, killed, timeout, survived, uncovered, score]
}

function isAlive({ status }) {
  return status === 'Survived' || status === 'NoCoverage'
}

/** `change.ts:120:5 Survived ConditionalExpression`, the line, and what stands in its place. */
function describe(file, { location, status, mutatorName, replacement }, source) {
  const { line, column } = location.start
  const text = source.split('\n')[line - 1]?.trim() ?? ''
  return `${file}:${line}:${column} ${status} ${mutatorName}\n  - ${text}\n  + ${replacement ?? ''}`
}
