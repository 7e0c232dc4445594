/*
 * What a bundle owes to the libraries inside of it: their licences ask that their texts go along. An esbuild plugin
 * writes them into `THIRD-PARTY-NOTICES` beside the bundle, for each package of which anything is in it; a package that
 * has no text of a licence ends the build.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'

export const noticesName = 'THIRD-PARTY-NOTICES'

/** What a licence, or a notice that has to go with it, is called. */
const licenceFile = /^(licen[cs]e|copying|notice)([.-].*)?$/i

/** The name of the package that a file in `node_modules` belongs to; undefined for another file. */
export function packageOf(path) {
  return /^.*(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]
}

/** The plugin. */
export const notices = {
  name: 'notices',
  setup({ initialOptions, onEnd }) {
    initialOptions.metafile = true
    const { absWorkingDir = process.cwd(), outdir, outfile } = initialOptions
    onEnd(({ errors, metafile, outputFiles }) => {
      if (errors.length > 0) return
      const paths = [...inputsOf(metafile), ...sourcesOf(metafile, outputFiles, absWorkingDir)].filter(packageOf)
      const folders = new Set(paths.map((path) => packageFolder(resolve(absWorkingDir, path))))
      if (folders.size === 0) return
      const folder = resolve(absWorkingDir, outdir ?? dirname(outfile))
      mkdirSync(folder, { recursive: true })
      writeFileSync(join(folder, noticesName), [...folders].map(noticeOf).sort().join('\n'))
    })
  },
}

/** The files of which something is in a bundle. */
function inputsOf({ outputs }) {
  return Object.values(outputs).flatMap(({ inputs }) =>
    Object.entries(inputs).flatMap(([path, { bytesInOutput }]) => (bytesInOutput > 0 ? [path] : [])),
  )
}

/** What its maps lead to: a library may have been bundled with another one inside. */
function sourcesOf({ outputs }, files, folder) {
  return Object.keys(outputs).flatMap((output) => {
    if (!output.endsWith('.map')) return []
    const path = resolve(folder, output)
    const text = files?.find((file) => file.path === path)?.text ?? readFileSync(path, 'utf8')
    return JSON.parse(text).sources.map((source) => resolve(dirname(path), source))
  })
}

/** The folder of the package that a file belongs to; where it was bundled into another one, as that one finds it. */
function packageFolder(path) {
  const name = packageOf(path)
  const inner = `node_modules/${name}`
  const at = path.lastIndexOf(`${inner}/`)
  for (let place = path.slice(0, at - 1); ; place = dirname(place)) {
    const folder = join(existsSync(place) ? realpathSync(place) : place, inner)
    if (existsSync(join(folder, 'package.json'))) return realpathSync(folder)
    if (place === dirname(place)) throw new Error(`'${name}' is bundled, and its licence is not found: ${path}`)
  }
}

/** A package with its licence: a line that {@link noticedPackages} finds again, and the texts. */
function noticeOf(folder) {
  const { name, version, license, licenses } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const texts = readdirSync(folder)
    .filter((file) => licenceFile.test(file))
    .sort()
  if (texts.length === 0) throw new Error(`'${name}' is bundled and has no text of its licence: ${folder}`)
  const line = '='.repeat(78)
  return `${line}\n${name} ${version} (${license ?? licenses?.map(({ type }) => type).join(', ')})\n${line}\n\n${texts.map((file) => readFileSync(join(folder, file), 'utf8').trim()).join('\n\n')}\n`
}

/** The names of the packages that a text of notices has. */
export function noticedPackages(text) {
  return [...text.matchAll(/^=+\n(\S+) \S+ \(.*\)\n=+$/gm)].map(([, name]) => name)
}
