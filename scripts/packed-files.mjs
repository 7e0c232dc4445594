/** What a tarball has to have, may have, and must not say, judged from its files. */
import { dirname } from 'node:path'
import { noticedPackages, noticesName, packageOf } from './notices.mjs'

const required = ['LICENSE', 'README.md', 'package.json']
const allowed =
  /^(bin\/[\w-]+\.js|bin\/package\.json|dist\/[\w.-]+\.(c?js|c?js\.map|d\.ts)|dist\/man\/[\w-]+\.1|dist\/page\/[\w-]+\.(html|css|js|js\.map)|dist\/(page\/)?THIRD-PARTY-NOTICES|src\/[\w/.-]+\.tsx?|src\/page\/[\w-]+\.(html|css))$/
const conditions = new Set(['types', 'browser', 'default'])
const described = ['description', 'keywords', 'homepage', 'bugs', 'license']

/**
 * Problems of the package from `folder` of the workspace whose tarball holds `files`, a map of names to bytes; its
 * package.json has to be as it is in the tarball.
 */
export function packingProblems(folder, files) {
  const manifest = JSON.parse(text(files, 'package.json'))
  return [
    ...fileProblems(files),
    ...mapProblems(files),
    ...noticeProblems(files),
    ...manifestProblems(folder, manifest),
    ...rangeProblems(manifest),
  ]
}

function fileProblems(files) {
  const missing = required.filter((name) => !files.has(name)).map((name) => `'${name}' is not packed`)
  const strange = [...files.keys()].filter((name) => !required.includes(name) && !allowed.test(name))
  return [...missing, ...strange.map((name) => `'${name}' is packed and should not be`)]
}

/** Each module leads a debugger to its sources: in the tarball, or in the map. */
function mapProblems(files) {
  const modules = [...files.keys()].filter((name) => /^dist\/.*\.c?js$/.test(name))
  return modules.flatMap((name) => {
    if (!text(files, name).includes('\n//# sourceMappingURL=')) return [`'${name}' has no source map`]
    if (!files.has(`${name}.map`)) return [`'${name}.map' is not packed`]
    const { sources, sourcesContent } = JSON.parse(text(files, `${name}.map`))
    const lost = sources.filter((source, i) => !sourcesContent?.[i] && !files.has(source.replace(/^\.\.\//, '')))
    return lost.map((source) => `'${name}.map' leads to '${source}', which is not packed`)
  })
}

/** A library of which something is bundled, as the map says, has its licence beside the bundle. */
function noticeProblems(files) {
  return [...files.keys()].flatMap((name) => {
    if (!name.endsWith('.map')) return []
    const { sources } = JSON.parse(text(files, name))
    const beside = `${dirname(name)}/${noticesName}`
    const noticed = files.has(beside) ? noticedPackages(text(files, beside)) : []
    const bundled = new Set(sources.flatMap((source) => packageOf(source) ?? []))
    return [...bundled]
      .filter((library) => !noticed.includes(library))
      .map((library) => `'${name}' holds parts of '${library}', whose licence is not in '${beside}'`)
  })
}

function manifestProblems(folder, manifest) {
  const problems = described
    .filter((field) => !manifest[field]?.length)
    .map((field) => `package.json has no '${field}'`)
  if (manifest.repository?.directory !== folder) problems.push(`package.json: repository.directory is not '${folder}'`)
  const { access, provenance } = manifest.publishConfig ?? {}
  if (access !== 'public' || provenance !== true)
    problems.push('package.json: publishConfig is not public with provenance')
  for (const [entry, target] of Object.entries(manifest.exports ?? {})) {
    const strange = conditionsOf(target).filter((condition) => !conditions.has(condition))
    for (const condition of strange) problems.push(`exports of '${entry}' have the condition '${condition}'`)
  }
  return problems
}

function conditionsOf(target) {
  if (typeof target === 'string') return []
  return Object.entries(target).flatMap(([condition, inner]) => [condition, ...conditionsOf(inner)])
}

/** A range from the workspace means nothing outside, and before 1.0 each minor version may break what a peer relies on. */
function rangeProblems({ dependencies, peerDependencies, optionalDependencies }) {
  const ranges = Object.entries({ ...dependencies, ...peerDependencies, ...optionalDependencies })
  const inner = ranges.filter(([, range]) => range.startsWith('workspace:'))
  const wide = Object.entries(peerDependencies ?? {})
    .filter(([name]) => name.startsWith('@diskgraph/'))
    .filter(([, range]) => !/^[~^]?\d[\w.-]*$/.test(range))
  return [
    ...inner.map(([name, range]) => `'${name}' is packed with the range '${range}'`),
    ...wide.map(
      ([name, range]) => `the peer '${name}' may be any of '${range}', future versions that break it included`,
    ),
  ]
}

function text(files, name) {
  return Buffer.from(files.get(name)).toString('utf8')
}
