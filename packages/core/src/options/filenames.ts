/** File names: protocols, `json:` names, and names relative to an image. */
import { BlockError } from '../errors.ts'
import { deepestOptions, parseJson } from './json.ts'
import { fromQapiName, toKebabCase } from './names.ts'
import { isRecord } from './validate.ts'

/** The protocol of `http://host/x` or `blkdebug:conf:x`; undefined for a path (`./a:b`, `C:\x` are paths). */
export function protocolOf(filename: string): string | undefined {
  const match = /^([A-Za-z][A-Za-z0-9+.-]+):/.exec(filename)
  return match === null ? undefined : (match[1] as string)
}

/** The options of a `json:{…}` name, camelCase, dotted keys expanded. EINVAL if it is not a JSON object. */
export function parseJsonFilename(filename: string): Record<string, unknown> {
  const value = parseJson(filename.slice('json:'.length))
  if (!isRecord(value)) throw new BlockError('EINVAL', 'Invalid JSON object given')
  return fromQapi(value)
}

/** Options as QAPI and `json:` names spell them, in camelCase and nested: `{ 'file.filename': 'x' }` too. */
export function fromQapi(options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return listsFromIndexes(expand(options, 0)) as Record<string, unknown>
}

/** `options`, which stand `depth` deep, with dotted keys expanded. */
function expand(options: Readonly<Record<string, unknown>>, depth: number): Record<string, unknown> {
  const result: Record<string, unknown> = Object.create(null)
  for (const [key, value] of Object.entries(options)) {
    const path = key.split('.', deepestOptions + 1)
    if (depth + path.length > deepestOptions) {
      throw new BlockError('EINVAL', `option '${key.slice(0, 40)}…' nests too deep`)
    }
    place(result, path.map(fromQapiName), convert(value, depth + path.length), key)
  }
  return result
}

function convert(value: unknown, depth: number): unknown {
  if (Array.isArray(value)) return value.map((item) => convert(item, depth + 1))
  return isRecord(value) ? expand(value, depth) : value
}

function place(target: Record<string, unknown>, path: readonly string[], value: unknown, key: string): void {
  let at = target
  for (const name of path.slice(0, -1)) {
    const inner = at[name] ?? Object.create(null)
    if (!isRecord(inner)) throw new BlockError('EINVAL', `Cannot mix scalar and non-scalar keys: '${key}'`)
    at[name] = inner
    at = inner as Record<string, unknown>
  }
  const last = path[path.length - 1] as string
  const present = at[last]
  if (present !== undefined && isRecord(present) && isRecord(value)) Object.assign(present, value)
  else if (present !== undefined) throw new BlockError('EINVAL', `option '${key}' is given twice`)
  else at[last] = value
}

/** Objects whose keys are 0, 1, 2 … become lists. */
function listsFromIndexes(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(listsFromIndexes)
  if (!isRecord(value)) return value
  const keys = Object.keys(value)
  if (keys.length > 0 && keys.every((key, i) => /^\d+$/.test(key) && Number(key) < keys.length && i >= 0)) {
    return keys.map((_, i) => listsFromIndexes(value[String(i)]))
  }
  for (const key of keys) (value as Record<string, unknown>)[key] = listsFromIndexes(value[key])
  return value
}

/** Options in QAPI's spelling; the inverse of {@link fromQapi}. */
export function toQapi(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(toQapi)
  if (!isRecord(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [toKebabCase(key), toQapi(inner)]))
}

/** A `json:` name of options, spaced as QEMU writes it. */
export function jsonFilename(options: Readonly<Record<string, unknown>>): string {
  return `json:${spacedJson(toQapi(options))}`
}

function spacedJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(spacedJson).join(', ')}]`
  if (!isRecord(value)) return JSON.stringify(value)
  const members = Object.entries(value).filter(([, inner]) => inner !== undefined)
  return `{${members.map(([key, inner]) => `${JSON.stringify(key)}: ${spacedJson(inner)}`).join(', ')}}`
}

/** `text` with `user:password@` taken out of every URL in it. */
export function withoutCredentials(text: string): string {
  return text.replace(/([a-z][a-z0-9+.-]{0,30}:\/\/)[^/?#\s"']*@/gi, '$1')
}

/** As {@link withoutCredentials}, for people to read: the values in query strings, of which one may be a key, are left out, too. */
export function withoutSecrets(text: string): string {
  const queries = /([a-z][a-z0-9+.-]{0,30}:\/\/[^?#\s"']*)\?([^#\s"']*)/gi
  return withoutCredentials(text).replace(queries, (_, url: string, query: string) => {
    const members = query.split('&').map((member) => member.replace(/^([^=]*=)?.+$/, '$1…'))
    return `${url}?${members.join('&')}`
  })
}

/** Whether a name is a URL with a host (`http://…`), whose directories are those of its path. */
export function isUrl(filename: string): boolean {
  return /^[A-Za-z][A-Za-z0-9+.-]+:\/\//.test(filename)
}

/** The directory part of a path or URL, with its slash; empty for a bare name, the root for a URL without a path. */
export function directoryOf(filename: string): string {
  const name = isUrl(filename) ? (filename.split(/[?#]/, 1)[0] as string) : filename
  if (isUrl(name) && !name.slice(name.indexOf('://') + 3).includes('/')) return `${name}/`
  const end = name.lastIndexOf('/')
  return end < 0 ? '' : name.slice(0, end + 1)
}

/**
 * The name that `reference`, found in the image `image`, stands for: itself if it is absolute or has a protocol,
 * else relative to the directory of the image.
 * @throws BlockError EINVAL when it is relative and the image's own name has no directory (`json:`).
 */
export function resolveReference(image: string, reference: string): string {
  if (reference.startsWith('/') || protocolOf(reference) !== undefined) return reference
  if (image.startsWith('json:')) {
    throw new BlockError('EINVAL', `Cannot use relative backing file names for '${image}'`)
  }
  return directoryOf(image) + reference
}

/** As {@link resolveReference}, for a name that is literal: a colon in it makes no protocol, and it stays on the image's host. */
export function resolveLiteral(image: string, name: string): string {
  if (protocolOf(image) === undefined) return name.startsWith('/') ? name : directoryOf(image) + name
  if (!name.startsWith('/')) return resolveReference(image, `./${name}`)
  const origin = /^[^:]+:\/\/[^/?#]*/.exec(image)
  if (origin === null) throw new BlockError('EINVAL', `Cannot use the absolute name '${name}' beside '${image}'`)
  return origin[0] + name
}
