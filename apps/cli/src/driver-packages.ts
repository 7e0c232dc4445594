/**
 * Drivers of other people.
 *
 * A driver is code, so nothing that an image says may choose one: names out of images find only the drivers that come
 * with the tools and those that the user has enabled, with `--driver NAME|PATH` in front of the command or in the
 * configuration. Enabled drivers are loaded when the program starts. A name stands for a package that is installed
 * beside the tool; the folder where the tool is run, which may have come with the image, is never looked at. A path
 * stands for a package or a module.
 */

import { readFileSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type DriverDescriptor, describeErrorCode, errorCodeOf } from '@diskgraph/core'
import { CommandError, messageOf, UsageError } from '@diskgraph/tools'
import type { ImportModule } from './compiled-script.ts'
import { drivers } from './driver-table.ts'

/** The words of a command line without `--driver`, and what those name. */
interface DriverWords {
  readonly rest: readonly string[]
  readonly named: readonly string[]
}

/**
 * Loads the drivers that the configuration and the values of `--driver` enable.
 * @throws CommandError for a driver that cannot be loaded and for a configuration that is wrong.
 */
export async function enableDrivers(named: readonly string[]): Promise<readonly DriverDescriptor[]> {
  const enabled = new Map<string, DriverDescriptor>()
  for (const { word, folder } of [...configured(), ...named.map((word) => ({ word, folder: process.cwd() }))]) {
    for (const driver of await load(word, folder)) enabled.set(driver.name, driver)
  }
  return [...enabled.values()]
}

/** `--driver`, which all programs have. */
export const driverGrammar = {
  driver: {
    long: 'driver',
    argument: 'DRIVER',
    description: 'in front of all others: a driver besides those of the tool; may be repeated',
  },
} as const

const option = `--${driverGrammar.driver.long}`

/**
 * Takes `--driver` out of the options in front of `words`. Only words in front of the command count: a file name behind
 * it that happens to begin so loads nothing.
 */
export function takeDriverOptions(words: readonly string[]): DriverWords {
  const named: string[] = []
  const rest: string[] = []
  let at = 0
  for (; words[at]?.startsWith('-') && words[at] !== '--'; at++) {
    const word = words[at] as string
    if (word.startsWith(`${option}=`)) named.push(word.slice(option.length + 1))
    else if (word !== option) rest.push(word)
    else {
      const value = words[++at]
      if (value === undefined) throw new UsageError(`missing argument for option '${option}'`)
      named.push(value)
    }
  }
  return { rest: named.length === 0 ? words : [...rest, ...words.slice(at)], named }
}

/** What the configuration enables: `{"drivers": [NAME or PATH, …]}`; paths are relative to its folder. */
function configured(): { word: string; folder: string }[] {
  const path = configurationPath()
  if (path === undefined) return []
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    const code = errorCodeOf(cause)
    if (code === 'ENOENT' || code === 'ENOTDIR') return []
    throw new CommandError(`Could not read '${path}': ${describeErrorCode(code)}`, { cause })
  }
  const folder = dirname(path)
  return readConfiguration(text, path).map((word) => ({ word, folder }))
}

/** The file that enables drivers for every run. Undefined where the user has no folder for it. A relative name would be one of the folder where the tool is run. */
export function configurationPath(): string | undefined {
  const given = process.env.XDG_CONFIG_HOME ?? ''
  const base = isAbsolute(given) ? given : join(homedir(), '.config')
  return isAbsolute(base) ? join(base, 'diskgraph', 'config.json') : undefined
}

function readConfiguration(text: string, path: string): readonly string[] {
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch (cause) {
    throw new CommandError(`Could not read '${path}': ${messageOf(cause)}`, { cause })
  }
  const { drivers = [], ...others } = (isRecord(content) ? content : { drivers: undefined }) as Record<string, unknown>
  if (!isRecord(content) || !Array.isArray(drivers) || !drivers.every((word) => typeof word === 'string')) {
    throw new CommandError(`'${path}' has no list 'drivers' of names and paths`)
  }
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) throw new CommandError(`'${path}' has an unknown member '${unknown}'`)
  return drivers as string[]
}

/** Whether a driver called `name` that is none of the tool's own is installed beside it. None of its code is run. */
export function isInstalled(name: string): boolean {
  return (
    driverName.test(name) &&
    !drivers.some((own) => own.name === name) &&
    packageNames(name).some((one) => locate(one) !== undefined)
  )
}

const driverName = /^[a-z0-9][a-z0-9_-]*$/i

function packageNames(name: string): readonly [string, string] {
  return [`@diskgraph/driver-${name}`, `diskgraph-driver-${name}`]
}

/** The drivers that `word` enables; a path is relative to `folder`. */
async function load(word: string, folder: string): Promise<readonly DriverDescriptor[]> {
  if (word.includes('/') && !word.includes('\0')) {
    const found = await descriptorsOf(entryOfPath(resolve(folder, word)), word)
    if (found.length > 0) return found
    throw new CommandError(`the module '${word}' exports no driver`)
  }
  if (!driverName.test(word)) {
    throw new CommandError(`'${word}' is neither the name of a driver nor a path, which contains a '/'`)
  }
  const names = packageNames(word)
  for (const name of names) {
    const entry = locate(name)
    if (entry === undefined) continue
    const found = await descriptorsOf(entry, name)
    if (found.some((driver) => driver.name === word)) return found
    throw new CommandError(`the package '${name}' exports no driver called '${word}'`)
  }
  throw new CommandError(
    `cannot find driver '${word}': neither '${names[0]}' nor '${names[1]}' is installed beside the tool; ` +
      `a package elsewhere is named by its path`,
  )
}

/** The file that `import 'packageName'` would load in the tool itself. */
function locate(packageName: string): string | undefined {
  for (const folder of createRequire(import.meta.url).resolve.paths(packageName) ?? []) {
    const entry = entryOfPackage(join(folder, packageName))
    if (entry !== undefined) return entry
  }
  return undefined
}

function entryOfPath(path: string): string {
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return path
  return entryOfPackage(path) ?? join(path, 'index.js')
}

function entryOfPackage(root: string): string | undefined {
  const manifest = readManifest(root)
  if (manifest === undefined) return undefined
  const { exports = manifest.module ?? manifest.main ?? './index.js' } = manifest
  const entry = entryOf(isRecord(exports) && '.' in exports ? exports['.'] : exports)
  return entry === undefined ? undefined : join(root, entry)
}

function readManifest(folder: string): Record<string, unknown> | undefined {
  try {
    const manifest: unknown = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    return isRecord(manifest) ? manifest : undefined
  } catch {
    return undefined
  }
}

/** The file of an entry of `exports`: the first condition that holds here. */
function entryOf(exports: unknown): string | undefined {
  if (typeof exports === 'string') return exports
  if (!isRecord(exports)) return undefined
  for (const [condition, target] of Object.entries(exports)) {
    if (!['node', 'import', 'module', 'default'].includes(condition)) continue
    const entry = entryOf(target)
    if (entry !== undefined) return entry
  }
  return undefined
}

/** Given by what runs the built programs (compiled-script.ts). */
declare const importModule: ImportModule | undefined

async function descriptorsOf(path: string, name: string): Promise<DriverDescriptor[]> {
  const url = pathToFileURL(path).href
  let exported: Record<string, unknown>
  try {
    exported = (await (typeof importModule === 'undefined' ? import(url) : importModule(url))) as Record<
      string,
      unknown
    >
  } catch (cause) {
    throw new CommandError(`cannot load driver '${name}': ${messageOf(cause)}`, { cause })
  }
  return Object.values(exported).filter(isDescriptor)
}

function isDescriptor(value: unknown): value is DriverDescriptor {
  return isRecord(value) && typeof value.name === 'string' && typeof value.open === 'function'
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
