import { spawn, spawnSync } from 'node:child_process'
import { readFileSync, realpathSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { root } from './workspace.mjs'

const windows = process.platform === 'win32'
const quiet = { TURBO_TELEMETRY_DISABLED: '1', TURBO_NO_UPDATE_NOTIFIER: '1', DO_NOT_TRACK: '1' }

/** The environment for the tools of the workspace: this process's, and nothing reports home. */
export function toolEnvironment() {
  return { ...process.env, ...quiet }
}

/**
 * Runs the pnpm that package.json pins, fetched by npx, without showing what it prints; throws when it fails.
 * It is not a dependency of the workspace, because a pnpm inside node_modules deletes itself when it has to make
 * that folder anew. What it starts finds it in the path, which turbo needs.
 */
export function runPnpm(what, args) {
  return runQuietly(what, ...shellCommand('npx', ['-y', packageManager(), ...args]))
}

/** The pinned package manager as npx takes it, `pnpm@` and its version. */
export function packageManager() {
  return JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).packageManager
}

/** Runs npm in the folder `cwd` without showing what it prints; throws when it fails. */
export function runNpm(what, args, cwd) {
  const [command, quoted, options] = shellCommand('npm', args)
  return runQuietly(what, command, quoted, { ...options, cwd })
}

/** On Windows npm and npx are scripts of the shell, which takes arguments apart at spaces. */
function shellCommand(command, args) {
  if (!windows) return [command, args, {}]
  return [`${command}.cmd`, args.map((arg) => `"${arg}"`), { shell: true }]
}

/** The script behind a tool's command, so that it starts with this very node, without a shell, on every platform. */
export function toolScript(packageName, command = packageName) {
  const folder = join(root, 'node_modules', packageName)
  const { bin } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  return join(folder, typeof bin === 'string' ? bin : bin[command])
}

/** Runs a command with this process's terminal and answers its exit code. The first Ctrl-C is the command's to handle. */
export function runInForeground(command, args, options = {}) {
  const child = spawn(command, args, { stdio: 'inherit', ...options })
  const forward = (signal) => child.kill(signal)
  const wait = () => {}
  process.on('SIGINT', wait)
  process.on('SIGTERM', forward)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code, signal) => {
      process.off('SIGINT', wait)
      process.off('SIGTERM', forward)
      resolve(code ?? 128 + constants.signals[signal])
    })
  })
}

/** Runs a command without showing what it prints; throws an error that ends with that text when it fails. */
export function runQuietly(what, command, args, options = {}) {
  const result = spawnSync(command, args, {
    cwd: root,
    env: toolEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    ...options,
  })
  if (result.error)
    throw new Error(`${what}: cannot start '${command}': ${result.error.message}`, { cause: result.error })
  if (result.status === 0) return result.stdout
  const ending = result.signal ? `was ended by ${result.signal}` : `ended with exit code ${result.status}`
  const text = `${result.stdout}\n${result.stderr}`.trim().split('\n').slice(-80).join('\n')
  throw new Error(`${what}: '${[command, ...args].join(' ')}' ${ending}, having printed\n${text}`)
}

/** True when the module at `url` is the program that node was started with. */
export function isProgram(url) {
  return process.argv[1] !== undefined && url === pathToFileURL(realpathSync(process.argv[1])).href
}
