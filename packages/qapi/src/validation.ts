/**
 * Checks values against the schema, with the words that QEMU has for what is wrong: clients match on some of them. A
 * message names the member by its whole path, `actions[0].data.name`, except where QEMU knows its last name only (enums
 * and alternates), or none (`null`, for an item of a list).
 */
import { BlockError } from '@diskgraph/core'
import type { Members, Ref, TypeDefinition } from './notation.ts'
import type { Schema } from './schema.ts'

type Struct = Extract<TypeDefinition, { struct: Members }>

/** How values are read. */
export interface ValidationSettings {
  /** Numbers and booleans may be texts, as command lines have nothing else. */
  readonly text?: boolean
}

/**
 * `value` as one of the type `ref`: a copy with null-prototype objects, in which numbers are numbers.
 * @throws BlockError EINVAL that says what is wrong with it.
 */
export function validate(schema: Schema, ref: Ref, value: unknown, settings: ValidationSettings = {}): unknown {
  return new Validation(schema, settings).value(ref, value, top)
}

/** The arguments of a command, as {@link validate}; in the newer form where they came in an older one. */
export function validateArguments(
  schema: Schema,
  command: string,
  given: Readonly<Record<string, unknown>>,
  settings: ValidationSettings = {},
): Record<string, unknown> {
  const definition = schema.command(command)
  if (definition === undefined) throw new BlockError('EINVAL', `The command ${command} has not been found`)
  const validation = new Validation(schema, settings)
  const { data = {}, older, open } = definition
  const [only] = Object.keys(older ?? {})
  if (older !== undefined && only !== undefined && Object.hasOwn(given, only)) {
    return validation.object({ struct: older }, given, top)[only] as Record<string, unknown>
  }
  const type = typeof data === 'string' ? schema.type(data) : { struct: data }
  if (!open) return validation.object(type as Struct, given, top)
  const known = Object.entries(given).filter(
    ([name]) => name in (type as Struct).struct || `*${name}` in (type as Struct).struct,
  )
  return { ...given, ...validation.object(type as Struct, Object.fromEntries(known), top) }
}

/** Where a value stands. */
interface Place {
  readonly path: string
  /** Its last name; `null` for an item of a list. */
  readonly name: string
}

const top: Place = { path: '', name: 'null' }

class Validation {
  readonly #schema: Schema
  readonly #text: boolean

  constructor(schema: Schema, settings: ValidationSettings) {
    this.#schema = schema
    this.#text = settings.text === true
  }

  value(ref: Ref, value: unknown, at: Place): unknown {
    if (typeof ref !== 'string') return this.#list(ref[0], value, at)
    switch (ref) {
      case 'str':
        if (typeof value === 'string') return value
        throw wrongType(at.path, 'string')
      case 'bool':
        return this.#bool(value, at)
      case 'int':
      case 'uint32':
      case 'uint64':
      case 'size':
        return this.#integer(ref, value, at)
      case 'number':
        return this.#number(value, at)
      case 'null':
        if (value === null) return null
        throw wrongType(at.path, 'null')
      case 'any':
        return value
    }
    const type = this.#schema.type(ref)
    if (type === undefined) throw new BlockError('EINVAL', `the schema has no type '${ref}'`)
    if ('enum' in type) return this.#enum(type.enum, value, at)
    if ('alternate' in type) return this.#alternate(ref, type.alternate, value, at)
    return this.object(type, value, at)
  }

  object(type: Struct, value: unknown, at: Place): Record<string, unknown> {
    if (!isObject(value)) throw wrongType(at.path, 'object')
    const result: Record<string, unknown> = Object.create(null)
    const known = new Set<string>()
    this.#members(type, value, at, result, known)
    for (const name of Object.keys(value)) {
      if (!known.has(name)) throw new BlockError('EINVAL', `Parameter '${join(at.path, name)}' is unexpected`)
    }
    return result
  }

  #members(type: Struct, value: object, at: Place, result: Record<string, unknown>, known: Set<string>): void {
    for (const [key, ref] of Object.entries(type.struct)) {
      const optional = key.startsWith('*')
      const name = optional ? key.slice(1) : key
      known.add(name)
      const member = Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined
      const path = join(at.path, name)
      if (member !== undefined) result[name] = this.value(ref, member, { path, name })
      else if (!optional) throw new BlockError('EINVAL', `Parameter '${path}' is missing`)
    }
    const variant = type.tag === undefined ? undefined : type.variants?.[result[type.tag] as string]
    if (variant === undefined) return
    this.#members(this.#schema.type(variant) as Struct, value, at, result, known)
  }

  #list(item: string, value: unknown, at: Place): unknown[] {
    if (!Array.isArray(value)) throw wrongType(at.path, 'array')
    return value.map((one, i) => this.value(item, one, { path: `${at.path}[${i}]`, name: 'null' }))
  }

  #enum(values: readonly string[], value: unknown, at: Place): string {
    if (typeof value !== 'string') throw wrongType(at.path, 'string')
    if (values.includes(value)) return value
    throw new BlockError('EINVAL', `Parameter '${at.name}' does not accept value '${value}'`)
  }

  #alternate(name: string, types: readonly string[], value: unknown, at: Place): unknown {
    for (const type of types) if (this.#isLike(type, value)) return this.value(type, value, at)
    throw wrongType(at.name, name)
  }

  /** Whether JSON's kind of `value` is that of the type. */
  #isLike(ref: string, value: unknown): boolean {
    switch (ref) {
      case 'str':
        return typeof value === 'string'
      case 'bool':
        return typeof value === 'boolean'
      case 'null':
        return value === null
      case 'int':
      case 'uint32':
      case 'uint64':
      case 'size':
      case 'number':
        return typeof value === 'number' || typeof value === 'bigint' || (this.#text && /^[+-]?\d/.test(String(value)))
      case 'any':
        return true
    }
    const type = this.#schema.type(ref)
    if (type === undefined) return false
    if ('enum' in type) return typeof value === 'string'
    if ('alternate' in type) return type.alternate.some((one) => this.#isLike(one, value))
    return isObject(value)
  }

  #bool(value: unknown, at: Place): boolean {
    if (typeof value === 'boolean') return value
    if (this.#text && typeof value === 'string') {
      if (['on', 'yes', 'true', 'y'].includes(value)) return true
      if (['off', 'no', 'false', 'n'].includes(value)) return false
      throw new BlockError('EINVAL', `Parameter '${at.path}' expects 'on' or 'off'`)
    }
    throw wrongType(at.path, 'boolean')
  }

  #integer(type: 'int' | 'uint32' | 'uint64' | 'size', value: unknown, at: Place): number {
    const given = this.#text && typeof value === 'string' ? integerFromText(type, value, at) : value
    const isWhole = typeof given === 'bigint' || Number.isInteger(given)
    if (!isWhole) throw type === 'int' || type === 'size' ? wrongType(at.path, 'integer') : expects(at.path, 'uint64')
    const number = Number(given)
    if (type === 'int') {
      if (number >= -(2 ** 63) && BigInt(given as number | bigint) < 2n ** 63n) return number
      throw wrongType(at.path, 'integer')
    }
    if (type === 'uint32') {
      if (number >= 0 && number < 2 ** 32) return number
      throw expects(at.name, 'uint32_t')
    }
    if (number >= 0 && BigInt(given as number | bigint) < 2n ** 64n) return number
    throw expects(at.path, 'a non-negative number below 2^64')
  }

  #number(value: unknown, at: Place): number {
    const number = this.#text && typeof value === 'string' && value.trim() !== '' ? Number(value) : value
    if (typeof number === 'bigint') return Number(number)
    if (typeof number === 'number' && Number.isFinite(number)) return number
    throw wrongType(at.path, 'number')
  }
}

const suffixes = 'BKMGTPE'

function integerFromText(type: string, text: string, at: Place): bigint {
  const [, digits, suffix = ''] = /^([+-]?\d+|0x[0-9a-f]+)([bkmgtpe]?)$/i.exec(text) ?? []
  if (digits === undefined || (suffix !== '' && type !== 'size')) {
    throw expects(at.path, type === 'size' ? 'a non-negative number below 2^64' : 'an integer')
  }
  const sign = digits.startsWith('-') ? -1n : 1n
  const magnitude = sign * BigInt(digits.replace(/^[+-]/, ''))
  return suffix === '' ? magnitude : magnitude << BigInt(10 * suffixes.indexOf(suffix.toUpperCase()))
}

function wrongType(name: string, expected: string): BlockError {
  return new BlockError('EINVAL', `Invalid parameter type for '${name}', expected: ${expected}`)
}

function expects(name: string, expected: string): BlockError {
  return new BlockError('EINVAL', `Parameter '${name}' expects ${expected}`)
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
