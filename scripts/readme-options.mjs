/*
 * `node scripts/readme-options.mjs`: writes the tables of options in the READMEs of drivers from their schemas. A page
 * that has the two marks gets its table between them; a test holds it to that.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { isProgram } from './processes.mjs'
import { packages, root } from './workspace.mjs'

const begin = '<!-- options: written by scripts/readme-options.mjs -->'
const end = '<!-- end of options -->'

/** The READMEs that have the marks, with the folder of their package. */
export function markedPages(folder = root) {
  return packages(folder)
    .map(({ folder: name }) => ({ name, path: join(folder, name, 'README.md') }))
    .filter(({ path }) => existsSync(path) && readFileSync(path, 'utf8').includes(begin))
}

/** `text` with the tables of the drivers among `exports` between its marks. */
export function withOptions(text, exports) {
  const start = text.indexOf(begin)
  const stop = text.indexOf(end)
  if (start < 0 || stop < start) throw new Error(`a page has '${begin}' without '${end}' behind it`)
  return `${text.slice(0, start)}${begin}\n\n${tablesOf(exports)}\n${text.slice(stop)}`
}

/** Drivers with the same options share one table. */
function tablesOf(exports) {
  const parts = new Set()
  for (const driver of Object.values(exports).filter(isDriver)) {
    parts.add(table(driver.options))
    const create = driver.createOptions
    if (create !== undefined && Object.keys(create).length > 0) parts.add(`Create options:\n\n${table(create)}`)
  }
  return [...parts].join('\n')
}

function isDriver(value) {
  return typeof value === 'object' && value !== null && 'kind' in value && 'options' in value && 'open' in value
}

function table(schemas) {
  const rows = [...rowsOf(schemas, '')].map((cells) => `| ${cells.map(escaped).join(' | ')} |\n`)
  return `| option | type | default | meaning |\n|---|---|---|---|\n${rows.join('')}`
}

function* rowsOf(schemas, prefix) {
  for (const [name, schema] of Object.entries(schemas)) {
    const { description, deprecated } = schema
    const meaning = deprecated === undefined ? description : `${description} (deprecated: ${deprecated})`
    yield [`\`${prefix}${name}\``, typeOf(schema), defaultOf(schema), meaning]
    if (schema.type === 'object') yield* rowsOf(schema.properties, `${prefix}${name}.`)
    if (schema.type !== 'union') continue
    for (const [variant, properties] of Object.entries(schema.variants)) {
      yield* rowsOf(properties, `${prefix}${name} (${variant}).`)
    }
  }
}

function typeOf(schema) {
  switch (schema.type) {
    case 'enum':
      return schema.values.map((value) => `\`${value}\``).join(', ')
    case 'list':
      return `list of ${typeOf(schema.items)}`
    case 'alternate':
      return schema.of.map(typeOf).join(' or ')
    case 'union':
      return `object, \`${schema.tag}\`: ${Object.keys(schema.variants)
        .map((name) => `\`${name}\``)
        .join(', ')}`
    case 'child':
      return 'node'
    case 'children':
      return 'list of nodes'
    case 'value':
      return schema.expects
    default:
      return schema.type
  }
}

function defaultOf(schema) {
  if (schema.required) return 'required'
  if (schema.default === undefined) return ''
  return schema.size ? sizeText(schema.default) : String(schema.default)
}

function sizeText(size) {
  const units = ['', ' KiB', ' MiB', ' GiB', ' TiB']
  let at = 0
  let rest = size
  for (; rest > 0 && rest % 1024 === 0 && at < units.length - 1; at++) rest /= 1024
  return `${rest}${units[at]}`
}

function escaped(cell) {
  return cell.replaceAll('|', '\\|')
}

if (isProgram(import.meta.url)) {
  for (const { name, path } of markedPages()) {
    const text = readFileSync(path, 'utf8')
    const written = withOptions(text, await import(pathToFileURL(join(root, name, 'dist', 'index.js')).href))
    if (written === text) continue
    writeFileSync(path, written)
    process.stdout.write(`${name}/README.md: options written\n`)
  }
}
