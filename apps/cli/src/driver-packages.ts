/** Drivers of other people: packages called after the driver, installed where the tool is run or where it lies. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { DriverDescriptor } from '@diskgraph/core'
import { CommandError, messageOf } from './messages.ts'

/**
 * The descriptor called `name` out of the package `@diskgraph/driver-<name>`, else `diskgraph-driver-<name>`.
 * @throws CommandError when the package is there but cannot be loaded or has no such descriptor.
 */
export async function findDriverPackage(name: string): Promise<DriverDescriptor | undefined> {
  for (const packageName of [`@diskgraph/driver-${name}`, `diskgraph-driver-${name}`]) {
    for (const from of [join(process.cwd(), 'package.json'), import.meta.url]) {
      const path = locate(packageName, from)
      if (path !== undefined) return loadDriver(path, packageName, name)
    }
  }
  return undefined
}

/** The file that `import 'packageName'` would load in the folder of `from`. */
function locate(packageName: string, from: string): string | undefined {
  for (const folder of createRequire(from).resolve.paths(packageName) ?? []) {
    const root = join(folder, packageName)
    const manifest = readManifest(root)
    if (manifest === undefined) continue
    const { exports = manifest.module ?? manifest.main ?? './index.js' } = manifest
    const entry = entryOf(isRecord(exports) && '.' in exports ? exports['.'] : exports)
    if (entry !== undefined) return join(root, entry)
  }
  return undefined
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

async function loadDriver(path: string, packageName: string, name: string): Promise<DriverDescriptor> {
  let exported: Record<string, unknown>
  try {
    exported = (await import(pathToFileURL(path).href)) as Record<string, unknown>
  } catch (cause) {
    throw new CommandError(`cannot load driver '${name}' from '${packageName}': ${messageOf(cause)}`, { cause })
  }
  const found = Object.values(exported).find((value) => isDescriptor(value) && value.name === name)
  if (found !== undefined) return found as DriverDescriptor
  throw new CommandError(`the package '${packageName}' exports no driver called '${name}'`)
}

function isDescriptor(value: unknown): value is DriverDescriptor {
  return isRecord(value) && typeof value.name === 'string' && typeof value.open === 'function'
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
