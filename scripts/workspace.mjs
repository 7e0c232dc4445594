import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder of the whole workspace. */
export const root = fileURLToPath(new URL('..', import.meta.url))

const produced = new Set(['node_modules', 'dist', 'coverage', '.turbo', '.git'])

/**
 * The folders that hold a package, as paths below `folder` with forward slashes, sorted.
 * They are found by the patterns of pnpm-workspace.yaml, which here are plain names or end in `/*`.
 */
export function packageFolders(folder = root) {
  const [, list = ''] = /^packages:\n((?:[ \t]+-.*\n?)*)/m.exec(read(folder, 'pnpm-workspace.yaml')) ?? []
  const patterns = [...list.matchAll(/-\s*['"]?([^'"\s]+)/g)].map((match) => match[1])
  const folders = patterns.flatMap((pattern) => {
    if (!pattern.endsWith('/*')) return [pattern]
    const parent = pattern.slice(0, -2)
    return existsSync(join(folder, parent)) ? readdirSync(join(folder, parent)).map((name) => `${parent}/${name}`) : []
  })
  return folders.filter((name) => existsSync(join(folder, name, 'package.json'))).sort()
}

/** Every package of the workspace: its folder (relative) and its package.json. */
export function packages(folder = root) {
  return packageFolders(folder).map((name) => ({ folder: name, manifest: readManifest(folder, name) }))
}

/** The package.json of the package in `name`, a folder below `folder`. */
export function readManifest(folder, name) {
  const file = join(name, 'package.json')
  try {
    return JSON.parse(read(folder, file))
  } catch (cause) {
    throw new Error(`cannot read '${file}': ${cause.message}`, { cause })
  }
}

/** Every file below `folder` that a person wrote, relative to `base`, with forward slashes, sorted. */
export function sourceFiles(folder, base = folder) {
  if (!existsSync(folder)) return []
  const files = []
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (produced.has(entry.name)) continue
    const path = join(folder, entry.name)
    if (entry.isDirectory()) files.push(...sourceFiles(path, base))
    else if (entry.isFile()) files.push(relative(base, path).split(sep).join('/'))
  }
  return files.sort()
}

function read(folder, name) {
  return readFileSync(join(folder, name), 'utf8')
}
