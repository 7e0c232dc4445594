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

/** Drivers with the same options share one table; where there are several, each says whose it is. */
function tablesOf(exports) {
  const drivers = Object.values(exports).filter(isDriver)
  return [...grouped(drivers, 'options', 'Options'), ...grouped(drivers, 'createOptions', 'Create options')].join('\n')
}

function grouped(drivers, key, title) {
  const names = new Map()
  for (const driver of drivers) {
    if (driver[key] === undefined || Object.keys(driver[key]).length === 0) continue
    const text = table(driver[key])
    names.set(text, [...(names.get(text) ?? []), `\`${driver.name}\``])
  }
  const several = names.size > 1
  return [...names].map(([text, of]) => {
    const whose = several ? ` of ${of.join(' and ')}` : ''
    return several || title !== 'Options' ? `${title}${whose}:\n\n${text}` : text
  })
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
    const { description, deprecated, reopen } = schema
    const notes = [
      ...(reopen ? ['may change on reopen'] : []),
      ...(deprecated === undefined ? [] : [`deprecated: ${deprecated}`]),
    ]
    const meaning = description.replace(/\.$/, '') + (notes.length === 0 ? '' : ` (${notes.join('; ')})`)
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
