/*
 * `npm test`: sets the workspace up and runs every check; its last line is `N passed, N failed`, with `, N skipped`
 * when there are any. Each of vitest's tests counts as one, and so does every other step. Arguments are vitest's
 * (`npm test -- packages/core`), and with them vitest alone runs.
 *
 * DISKGRAPH_REQUIRE_PEERS=1 makes a missing peer tool (qemu-img, qemu-io…) a failed test where it else is a skipped one.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { runInForeground, toolEnvironment, toolScript } from './processes.mjs'
import { setUp } from './setup.mjs'
import { missingPackages } from './size.mjs'
import { root } from './workspace.mjs'

const counts = { passed: 0, failed: 0, skipped: 0 }
const failures = []
const skips = []
const filters = process.argv.slice(2)

if (await step('set-up', setUp)) {
  if (filters.length === 0) await runSteps()
  await runVitest()
}
report()

async function runSteps() {
  await step('style', () => program(join(root, 'scripts', 'check-style.mjs')))
  await step('format and lint', () => program(toolScript('@biomejs/biome', 'biome'), 'check', '.'))
  await step('types', () => program(toolScript('typescript', 'tsc'), '-p', 'tsconfig.json'))
  await step('publint and attw', () => program(join(root, 'scripts', 'check-packages.mjs')))
  const missing = missingPackages()
  if (missing.length > 0) skip(`size: not in the workspace yet: ${missing.join(', ')}`)
  else await step('size of a minimal install', () => program(join(root, 'scripts', 'size.mjs')))
  await step('API reference', () => program(toolScript('typedoc', 'typedoc'), '--emit', 'none'))
  await step("somebody else's driver, and the examples", () => program(join(root, 'scripts', 'third-party.mjs')))
}

/** Runs a step, which fails by throwing or by answering an exit code other than 0. Set-up counts only when it fails. */
async function step(name, action) {
  if (action !== setUp) process.stdout.write(`\n── ${name}\n`)
  try {
    const exitCode = await action()
    if (exitCode) throw new Error(`exit code ${exitCode}`)
    if (action !== setUp) counts.passed++
    return true
  } catch (error) {
    fail(name, error.message)
    return false
  }
}

function program(file, ...args) {
  return runInForeground(process.execPath, [file, ...args], { cwd: root, env: toolEnvironment() })
}

async function runVitest() {
  process.stdout.write('\n── vitest\n')
  const folder = mkdtempSync(join(tmpdir(), 'diskgraph-test-'))
  try {
    const json = join(folder, 'vitest.json')
    const outputs = ['--reporter=default', '--reporter=json', `--outputFile.json=${json}`]
    const exitCode = await program(toolScript('vitest'), 'run', ...outputs, ...filters)
    countTests(readResults(json), exitCode)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function readResults(json) {
  try {
    return JSON.parse(readFileSync(json, 'utf8'))
  } catch {
    return { testResults: [] }
  }
}

function countTests({ testResults }, exitCode) {
  const failedBefore = counts.failed
  for (const { name, status, message, assertionResults } of testResults) {
    const file = relative(root, name)
    for (const test of assertionResults) countTest(`${file}: ${test.fullName}`, test.status)
    const hasFailed = assertionResults.some((test) => test.status === 'failed')
    if (status === 'failed' && !hasFailed) fail(file, firstLine(message))
  }
  if (exitCode !== 0 && counts.failed === failedBefore) fail('vitest', `exit code ${exitCode}`)
}

function countTest(name, status) {
  if (status === 'passed') counts.passed++
  else if (status === 'failed') fail(name)
  else skip(name)
}

function firstLine(text = '') {
  return text.split('\n', 1)[0]
}

function fail(name, reason) {
  counts.failed++
  failures.push(reason ? `${name}: ${reason}` : name)
}

function skip(name) {
  counts.skipped++
  skips.push(name)
}

function report() {
  const lines = [...skips.map((name) => `skipped: ${name}`), ...failures.map((name) => `failed: ${name}`)]
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''
  process.stdout.write(`\n${lines.map((line) => `${line}\n`).join('')}`)
  process.stdout.write(`${counts.passed} passed, ${counts.failed} failed${skipped}\n`)
  process.exitCode = counts.failed > 0 ? 1 : 0
}
