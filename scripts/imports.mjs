/*
 * What files import of each other: circles among them, and exports that nobody imports. Both are read from the text, for
 * an own import names its file with the ending, and there is no other way to reach one.
 */
import { posix } from 'node:path'

const statement =
  /\b(import|export)\s+(?:type\s+)?(?:\w+\s*,\s*)?(?:\{([^}]*)\}|(\*)(?:\s+as\s+\w+)?)\s*from\s*(['"])([^'"\n]+)\4/g
const wholeModule = /\bimport\s*\(?\s*(['"])([^'"\n]+)\1/g
const declaration =
  /^export\s+(?:declare\s+)?(?:abstract\s+|async\s+)?(?:const|let|function\*?|class|interface|type)\s+(\w+)/gm

/** The imports of a file that lead to others of the workspace: `names` as they are called there, or `*` for all. */
function importsOf({ path, text }) {
  const found = []
  for (const [, verb, list, star, , target] of text.matchAll(statement)) {
    found.push({ names: star === undefined ? namesIn(list) : ['*'], target, passedOn: verb === 'export' })
  }
  for (const [, , target] of text.matchAll(wholeModule)) found.push({ names: ['*'], target, passedOn: false })
  return found.map((one) => ({ ...one, target: pathOf(path, one.target) }))
}

/** `a, type b as c` are the names a and b. */
function namesIn(list) {
  const names = list.split(',').map((name) => /^(?:type\s+)?(\w+)/.exec(name.trim())?.[1])
  return names.filter((name) => name !== undefined)
}

function pathOf(path, target) {
  if (target.startsWith('.')) return posix.join(path, '..', target)
  return target.replace(/^@diskgraph\/([^/]+)\/(\w+)$/, 'packages/$1/src/$2.ts')
}

/** Problems of circles among the files of one package's `src`, and among its folders, whose imports go one way, too. */
export function circleProblems(files) {
  const byFile = new Map()
  const byFolder = new Map()
  for (const file of files.filter(({ name }) => name.startsWith('src/'))) {
    const folder = folderOf(file.path)
    const targets = importsOf(file).map(({ target }) => target)
    byFile.set(file.path, targets)
    const others = targets.map(folderOf).filter((other) => other !== folder)
    byFolder.set(folder, [...(byFolder.get(folder) ?? []), ...others])
  }
  const ofFolders = circles(byFolder).filter((circle) => circle.some((name) => !byFile.has(name)))
  return [...circles(byFile), ...ofFolders].map(
    (circle) => `${circle.join(' imports ')}: a circle: let the lower one say by an interface of its own what it needs`,
  )
}

/** The folder right below `src` in which a file is; the file itself where it is in none. */
function folderOf(path) {
  return path.replace(/^(.*?\/src\/[^/]+).*$/, '$1')
}

/** One circle for each import that closes one: names of which the first is the last, too. */
function circles(graph) {
  const found = []
  const done = new Set()
  const visit = (name, path) => {
    const start = path.indexOf(name)
    if (start >= 0) found.push([...path.slice(start), name])
    if (start >= 0 || done.has(name)) return
    for (const target of new Set(graph.get(name))) if (graph.has(target)) visit(target, [...path, name])
    done.add(name)
  }
  for (const name of graph.keys()) visit(name, [])
  return found
}

/**
 * Exports of `src` that no other file of the workspace imports. What an entry of a package exports is for others, except
 * core's `internal`, which is for this workspace.
 */
export function deadExportProblems(packages, files) {
  const entries = new Set(packages.flatMap(entriesOf))
  const used = new Set()
  const isEntry = ({ name, path }) => !name.startsWith('src/') || entries.has(path)
  const imported = files.flatMap((file) =>
    importsOf(file).map(({ passedOn, ...one }) => ({ ...one, from: file.path, passedOn: passedOn && !isEntry(file) })),
  )
  const use = ({ target, names }) => {
    for (const name of names) used.add(`${target} ${name}`)
  }
  imported.filter(({ passedOn }) => !passedOn).forEach(use)
  const isUsed = (path, name) => used.has(`${path} ${name}`) || used.has(`${path} *`)
  const dead = []
  for (const { from, target, names } of imported.filter(({ passedOn }) => passedOn)) {
    const exported = names[0] === '*' ? exportsOf(files.find(({ path }) => path === target)) : names
    use({ target, names: exported.filter((name) => isUsed(from, name)) })
    if (names[0] !== '*') dead.push(...exported.filter((name) => !isUsed(from, name)).map((name) => [from, name]))
  }
  for (const file of files.filter((one) => !isEntry(one))) {
    dead.push(...exportsOf(file).map((name) => [file.path, name]))
  }
  return dead
    .filter(([path, name]) => !isUsed(path, name))
    .map(([path, name]) => `${path}: nobody imports '${name}': take its export away, or all of it`)
}

function exportsOf(file) {
  return [...(file?.text ?? '').matchAll(declaration)].map(([, name]) => name)
}

/** The sources of what `exports` of a package offers to others. */
/** What is used from outside: what `exports` names, and what programs in `bin` start with. */
function entriesOf({ folder, manifest }) {
  if (manifest.bin !== undefined) return [`${folder}/src/start.ts`]
  const outputs = JSON.stringify(manifest.exports ?? {}).matchAll(/"\.\/dist\/([\w./-]+)\.js"/g)
  return [...outputs].map(([, name]) => `${folder}/src/${name}.ts`).filter((path) => !path.endsWith('/internal.ts'))
}
