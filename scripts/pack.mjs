/*
 * `npm run pack -- FOLDER`: builds what has changed and packs all packages that are published into tarballs in FOLDER,
 * as npm would publish them; `npm run pack -- FOLDER PACKAGE…` only these. Prints the paths, one a line.
 */
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { isProgram } from './processes.mjs'
import { setUp } from './setup.mjs'
import { packInto, publicPackages } from './tarballs.mjs'

/** The folder, by its path from `cwd`, and the packages that `words` ask for. Throws for a package that is not published. */
export function packRequest([folder, ...names], cwd) {
  const all = publicPackages().map(({ manifest }) => manifest.name)
  const unknown = names.find((name) => !all.includes(name))
  if (unknown !== undefined) throw new Error(`pack: no package '${unknown}' is published from here: ${all.join(', ')}`)
  if (folder === undefined) throw new Error('pack: say into which folder: npm run pack -- FOLDER [PACKAGE…]')
  return { folder: resolve(cwd, folder), names: names.length > 0 ? names : all }
}

/** Makes `folder`. Tarballs of another day in it would be taken for those of today, so it must be empty. */
export function emptyFolder(folder) {
  if (existsSync(folder) && readdirSync(folder).length > 0) {
    throw new Error(`pack: '${folder}' is not empty: tarballs go into a folder of their own`)
  }
  mkdirSync(folder, { recursive: true })
}

if (isProgram(import.meta.url)) {
  // npm runs scripts in the root; the path is one from where it was called.
  const { folder, names } = packRequest(process.argv.slice(2), process.env.INIT_CWD ?? process.cwd())
  emptyFolder(folder)
  setUp()
  for (const path of packInto(folder, names).values()) console.log(path)
}
