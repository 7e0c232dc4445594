import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { runPnpm } from './processes.mjs'
import { packages } from './workspace.mjs'

/** The packages that are published: all that are not private. */
export function publicPackages() {
  return packages().filter(({ manifest }) => manifest.private !== true)
}

/**
 * Packs packages of the workspace, which must be built, into `folder` as npm would publish them.
 * Answers the paths of the tarballs by package name.
 */
export function packInto(folder, names) {
  const filters = names.map((name) => `--filter=${name}`)
  runPnpm('pack', [...filters, '--recursive', 'pack', '--pack-destination', folder])
  const found = readdirSync(folder)
  return new Map(names.map((name) => [name, join(folder, tarballOf(name, found))]))
}

function tarballOf(name, files) {
  const stem = name.replace('@', '').replace('/', '-')
  const file = files.find((one) => one.startsWith(`${stem}-`) && /^\d/.test(one.slice(stem.length + 1)))
  if (!file) throw new Error(`pack: no tarball was made for '${name}'`)
  return file
}
