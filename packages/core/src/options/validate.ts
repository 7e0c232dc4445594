/** Validation of option objects against {@link OptionSchemas}: types, ranges, defaults, and the path in every error. */

import type { OptionSchema, OptionSchemas } from '../contract/option-schema.ts'
import { BlockError } from '../errors.ts'
import { nearestName, toCamelCase } from './names.ts'
import { parseSize } from './size.ts'

/** How {@link validateOptions} reads its input. */
interface ValidateOptions {
  /** Where the object stands, for messages: `file.cache`. */
  readonly path?: string
  /** The message for an option, by its path, that the schemas do not know. Default: `Invalid parameter 'x'`. */
  readonly unknown?: (name: string) => string
  /** Leave missing options missing. */
  readonly withoutDefaults?: boolean
}

/**
 * Checks `input` and returns a new null-prototype object with defaults filled in. Text is accepted for numbers and
 * booleans (`64k`, `on`), as command lines have nothing else. Child options pass unchecked.
 * @throws BlockError EINVAL, with the path of the offending option.
 */
export function validateOptions(
  schemas: OptionSchemas,
  input: Readonly<Record<string, unknown>>,
  options: ValidateOptions = {},
): Record<string, unknown> {
  const names = nameTable(schemas)
  const result: Record<string, unknown> = Object.create(null)
  for (const [key, value] of Object.entries(input)) {
    const name = names.get(key)
    const path = optionPath(options.path, key)
    if (name === undefined) throw unknownOption(path, key, names.keys(), options)
    if (name in result) throw new BlockError('EINVAL', `option '${path}' is given twice`)
    if (value !== undefined) result[name] = validateValue(schemas[name] as OptionSchema, value, path, options)
  }
  for (const [name, schema] of Object.entries(schemas)) {
    if (name in result) continue
    if (schema.required) {
      throw new BlockError('EINVAL', `A value is required for option '${optionPath(options.path, name)}'`)
    }
    if (!options.withoutDefaults && 'default' in schema && schema.default !== undefined) result[name] = schema.default
  }
  return result
}

/** Checks one value against its schema and returns it converted. */
export function validateValue(
  schema: OptionSchema,
  value: unknown,
  path: string,
  options: ValidateOptions = {},
): unknown {
  switch (schema.type) {
    case 'boolean':
      return toBoolean(value, path)
    case 'string':
      if (typeof value === 'string') return value
      if (typeof value === 'number') return String(value)
      throw wrongType(path, 'a string')
    case 'enum':
      return toEnum(schema.values, value, path)
    case 'integer':
    case 'number':
      return toNumber(schema, value, path)
    case 'object':
      if (!isRecord(value)) throw wrongType(path, 'an object')
      return validateOptions(schema.properties, value, { ...options, path })
    case 'list': {
      if (!Array.isArray(value)) throw wrongType(path, 'a list')
      return value.map((item, i) => validateValue(schema.items, item, `${path}.${i}`, options))
    }
    case 'alternate':
      return toAlternate(schema.of, value, path, options)
    case 'union':
      return toVariant(schema, value, path, options)
    case 'null':
      if (value === null) return null
      throw wrongType(path, 'null')
    case 'value':
      if (schema.check(value)) return value
      throw wrongType(path, schema.expects)
    case 'child':
    case 'children':
      return value
  }
}

function toVariant(
  schema: OptionSchema & { type: 'union' },
  value: unknown,
  path: string,
  options: ValidateOptions,
): Record<string, unknown> {
  if (!isRecord(value)) throw wrongType(path, 'an object')
  const values = Object.keys(schema.variants)
  const tag = { type: 'enum', values, required: true, description: schema.description } as const
  const given = Object.hasOwn(value, schema.tag) ? value[schema.tag] : undefined
  if (given === undefined) return validateOptions({ [schema.tag]: tag }, {}, { ...options, path })
  const variant = schema.variants[toEnum(values, given, optionPath(path, schema.tag))]
  return validateOptions({ [schema.tag]: tag, ...variant }, value, { ...options, path })
}

function toAlternate(
  schemas: readonly OptionSchema[],
  value: unknown,
  path: string,
  options: ValidateOptions,
): unknown {
  let failure: unknown
  for (const schema of schemas) {
    try {
      return validateValue(schema, value, path, options)
    } catch (error) {
      failure = error
    }
  }
  throw failure
}

function toBoolean(value: unknown, path: string): boolean {
  if (typeof value === 'boolean') return value
  if (value === 'on' || value === 'yes' || value === 'true' || value === 'y') return true
  if (value === 'off' || value === 'no' || value === 'false' || value === 'n') return false
  throw new BlockError('EINVAL', `Parameter '${path}' expects 'on' or 'off'`)
}

function toEnum(values: readonly string[], value: unknown, path: string): string {
  if (typeof value === 'string' && values.includes(value)) return value
  const near = typeof value === 'string' ? nearestName(value, values) : undefined
  const hint = near === undefined ? undefined : `did you mean '${near}'?`
  throw new BlockError('EINVAL', `Parameter '${path}' expects one of: ${values.join(', ')}`, { hint })
}

function toNumber(schema: OptionSchema & { type: 'integer' | 'number' }, value: unknown, path: string): number {
  const isSize = schema.type === 'integer' && schema.size === true
  const number = typeof value === 'string' ? numberFromText(value, isSize, path) : value
  if (typeof number !== 'number' || !Number.isFinite(number)) throw wrongType(path, 'a number')
  if (schema.type === 'integer' && !Number.isSafeInteger(number)) throw wrongType(path, 'a whole number')
  if (schema.minimum !== undefined && number < schema.minimum) {
    throw new BlockError('EINVAL', `Parameter '${path}' must be at least ${schema.minimum}`)
  }
  if (schema.maximum !== undefined && number > schema.maximum) {
    throw new BlockError('EINVAL', `Parameter '${path}' must be at most ${schema.maximum}`)
  }
  return number
}

function numberFromText(text: string, isSize: boolean, path: string): number {
  if (isSize) {
    const size = parseSize(text)
    if (size === undefined) {
      const hint =
        'Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively.'
      throw new BlockError('EINVAL', `Parameter '${path}' expects a non-negative number below 2^64`, { hint })
    }
    return size
  }
  if (!/^[+-]?(0x[0-9a-f]+|\d+(\.\d+)?)$/i.test(text)) throw wrongType(path, 'a number')
  return Number(text)
}

function nameTable(schemas: OptionSchemas): Map<string, string> {
  const names = new Map<string, string>()
  for (const [name, schema] of Object.entries(schemas)) {
    names.set(name, name)
    if (schema.qapi !== undefined) names.set(schema.qapi, name)
    for (const alias of schema.aliases ?? []) names.set(alias, name)
  }
  return names
}

function unknownOption(path: string, key: string, known: Iterable<string>, options: ValidateOptions): BlockError {
  const near = nearestName(toCamelCase(key), known)
  const hint = near === undefined ? undefined : `did you mean '${near}'?`
  const own = options.unknown?.(path)
  return new BlockError('EINVAL', own ?? `Invalid parameter '${path}'`, { hint })
}

function wrongType(path: string, expected: string): BlockError {
  return new BlockError('EINVAL', `Parameter '${path}' expects ${expected}`)
}

/** The same schemas with nothing required: for changes of some options. */
export function optional(schemas: OptionSchemas): OptionSchemas {
  return Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, { ...schema, required: false }]))
}

/** Create options as `amend` takes them: validated, without defaults; only those that may be amended. */
export function validateAmend(
  schemas: OptionSchemas,
  given: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  return validateOptions(optional(schemas), given, { withoutDefaults: true })
}

/** Whether `value` is a plain object (not an array, not null). */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Where an option stands: `file.locking`. */
export function optionPath(path: string | undefined, key: string): string {
  return path === undefined || path === '' ? key : `${path}.${key}`
}

type Values = Readonly<Record<string, unknown>>

/** The options that were given as text and are none. */
export function spelledOptions(text: Values, given: Values): Values {
  return Object.fromEntries(
    Object.entries(text).filter(([name, value]) => typeof value === 'string' && typeof given[name] !== 'string'),
  )
}
