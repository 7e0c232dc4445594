/** Options of a command line: `driver=raw,file.driver=file,file.filename=a,,b` or JSON, as an object for the schema. */
import { BlockError } from '@diskgraph/core'

const deepest = 64

/**
 * The object that `text` stands for; its values are texts, except in JSON (what begins with a brace). A word without `=`
 * is the value of `implied`, where it comes first. Numbers among dotted keys are places in a list.
 * @throws BlockError EINVAL for what is neither.
 */
export function parseKeyval(text: string, implied?: string): Record<string, unknown> {
  const result: Record<string, unknown> = Object.create(null)
  let first = true
  for (const word of splitCommas(text)) {
    const equals = word.indexOf('=')
    const useImplied = equals < 0 && first && implied !== undefined
    first = false
    if (equals < 0 && !useImplied) throw new BlockError('EINVAL', `Expected '=' after parameter '${word}'`)
    const key = useImplied ? implied : word.slice(0, equals)
    place(result, key, useImplied ? word : word.slice(equals + 1))
  }
  return withLists(result) as Record<string, unknown>
}

/** `text` cut at single commas; a double one is a comma in a value. */
function splitCommas(text: string): string[] {
  if (text === '') return []
  const words = text.match(/(?:[^,]|,,)+/g) ?? []
  return words.map((word) => word.replaceAll(',,', ','))
}

function place(target: Record<string, unknown>, key: string, value: string): void {
  const path = key.split('.')
  if (path.length > deepest) throw new BlockError('EINVAL', `Parameter '${key.slice(0, 40)}…' nests too deep`)
  let at = target
  for (const part of path.slice(0, -1)) {
    const name = checked(part, key)
    const inner = at[name] ?? Object.create(null)
    if (typeof inner === 'string') throw mixed(key)
    at[name] = inner
    at = inner as Record<string, unknown>
  }
  const last = checked(path[path.length - 1] as string, key)
  if (typeof at[last] === 'object') throw mixed(key)
  at[last] = value
}

function checked(part: string, key: string): string {
  if (/^(?:\d+|[A-Za-z][\w-]*)$/.test(part)) return part
  throw new BlockError('EINVAL', `Invalid parameter '${key}'`)
}

function mixed(key: string): BlockError {
  return new BlockError('EINVAL', `Parameters '${key}.*' used inconsistently`)
}

/** Objects whose names are 0, 1, 2 … as lists. */
function withLists(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const record = value as Record<string, unknown>
  const keys = Object.keys(record)
  if (keys.length > 0 && keys.every((key) => /^\d+$/.test(key))) {
    return keys.map((_, i) => {
      if (Object.hasOwn(record, String(i))) return withLists(record[String(i)])
      throw new BlockError('EINVAL', `Parameter '${i}' missing`)
    })
  }
  for (const key of keys) record[key] = withLists(record[key])
  return record
}
