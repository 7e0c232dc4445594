/**
 * The options of a new image (`-o`), as command lines have them: of the format, and behind them those of the storage
 * that the format does not have itself. Names are written as QEMU writes them: `cluster_size`, `encrypt.key-secret`.
 */

import { dirname, resolve } from 'node:path'
import { type DriverDescriptor, type Graph, isBlockError } from '@diskgraph/core'
import { type OptionSchema, type OptionSchemas, parseSize } from '@diskgraph/core/driver'
import { nearestName, protocolOf, toKebabCase, toSnakeCase } from '@diskgraph/core/internal'
import { CommandError, messageOf } from '@diskgraph/tools'
import { isUnknownDriver } from './drivers.ts'
import { type KeyValue, parseKeyValues } from './key-values.ts'

/** One option of a new image. */
interface CreateOption {
  /** As on command lines. */
  readonly name: string
  /** Where it stands in the options of its driver: `['encrypt', 'keySecret']`. */
  readonly path: readonly string[]
  readonly schema: OptionSchema
  /** The storage takes it, not the format. */
  readonly ofStorage: boolean
}

/** The value of an option, read by its type. */
type CreateValue = string | number | boolean

/** The drivers that a new image needs. `storage` is missing when the format is a protocol itself. */
export interface NewImageDrivers {
  readonly format: DriverDescriptor
  readonly storage: DriverDescriptor | undefined
}

/**
 * The drivers of a new image called `filename` (undefined: only the format is asked about).
 * @throws CommandError for a format or protocol that is not there or cannot create.
 */
export async function newImageDrivers(graph: Graph, format: string, filename?: string): Promise<NewImageDrivers> {
  const driver = await findFormat(graph, format)
  if (driver.create === undefined) {
    throw new CommandError(`Format driver '${format}' does not support image creation`)
  }
  if (filename === undefined || driver.kind === 'protocol') return { format: driver, storage: undefined }
  const storage = await storageDriver(graph, filename)
  if (storage.create === undefined && storage.storageExists !== true) {
    throw new CommandError(`Protocol driver '${storage.name}' does not support image creation`)
  }
  return { format: driver, storage }
}

/** The driver called `format`. @throws CommandError `Unknown file format 'x'`. */
export async function findFormat(graph: Graph, format: string): Promise<DriverDescriptor> {
  try {
    return await graph.registry.get(format)
  } catch (error) {
    if (isUnknownDriver(error)) throw new CommandError(`Unknown file format '${format}'`, { cause: error })
    throw error
  }
}

async function storageDriver(graph: Graph, filename: string): Promise<DriverDescriptor> {
  const protocol = protocolOf(filename)
  if (protocol === undefined) return graph.registry.get(await graph.registry.forPath(filename))
  const driver = await graph.registry.forPrefix(protocol)
  if (driver === undefined) throw new CommandError(`Unknown protocol '${protocol}'`)
  return driver
}

/** All options of a new image, those of the format first, in the order of their schemas. */
export function createOptionsOf(drivers: NewImageDrivers): CreateOption[] {
  const options = schemaOptions(drivers.format.createOptions ?? {}, false)
  const known = new Set(options.map(({ name }) => name))
  const below = drivers.storage === undefined ? [] : schemaOptions(drivers.storage.createOptions ?? {}, true)
  return [...options, ...below.filter(({ name }) => !known.has(name))]
}

/** What images of a format can be told to change. */
export function amendable({ createOptions = {}, amendOptions }: DriverDescriptor): CreateOption[] {
  if (amendOptions !== undefined) return schemaOptions(amendOptions, false)
  return schemaOptions(createOptions, false).filter(({ schema }) => schema.amend)
}

function schemaOptions(schemas: OptionSchemas, ofStorage: boolean): CreateOption[] {
  return Object.entries(schemas).flatMap(([key, schema]): CreateOption[] => {
    if (schema.commandLine === false || schema.type === 'children' || key === 'filename') return []
    if (schema.type === 'child' && schema.commandLine === undefined) return []
    if (schema.type !== 'object') {
      return [{ name: schema.commandLine ?? toSnakeCase(key), path: [key], schema, ofStorage }]
    }
    return Object.entries(schema.properties).flatMap(([inner, property]) => {
      if (property.commandLine === false) return []
      return { name: `${toSnakeCase(key)}.${toKebabCase(inner)}`, path: [key, inner], schema: property, ofStorage }
    })
  })
}

/** What the words of a command line say of a new image. */
export interface NewImageWords {
  readonly format: string
  /** `-o`. */
  readonly options: string | undefined
  readonly backingFile?: string | undefined
  readonly backingFormat?: string | undefined
}

/**
 * The options of a new image that the words of a command line give it.
 * @throws CommandError for what the drivers do not know.
 */
export function valuesOf(drivers: NewImageDrivers, words: NewImageWords): CreateValues {
  const values = new CreateValues(createOptionsOf(drivers))
  if (words.options !== undefined) values.take(parseKeyValues(words.options))
  const set = (name: string, value: string | undefined, what: string): void => {
    if (value === undefined) return
    if (values.find(name) === undefined) {
      throw new CommandError(`${what} not supported for file format '${words.format}'`)
    }
    values.set(name, value)
  }
  set('backing_file', words.backingFile, 'Backing file')
  set('backing_fmt', words.backingFormat, 'Backing file format')
  return values
}

/** Options of a new image with the values that they were given. */
export class CreateValues {
  readonly options: readonly CreateOption[]
  readonly #values = new Map<CreateOption, CreateValue>()

  constructor(options: readonly CreateOption[]) {
    this.options = options
  }

  /** @throws CommandError for an unknown name or a value of the wrong type. */
  take(pairs: readonly KeyValue[]): void {
    for (const { key, value } of pairs) {
      const option = this.find(key)
      if (option === undefined) throw new CommandError(`Invalid parameter '${key}'`, this.#nearest(key))
      this.#values.set(option, readValue(option, value))
    }
  }

  #nearest(key: string): { hint?: string } {
    const near = nearestName(
      key,
      this.options.map(({ name }) => name),
    )
    return near === undefined ? {} : { hint: `did you mean '${near}'?` }
  }

  /** The option called `name`, if the format or the storage has it. */
  find(name: string): CreateOption | undefined {
    return this.options.find((option) => option.name === name)
  }

  get(name: string): CreateValue | undefined {
    const option = this.find(name)
    return option && this.#values.get(option)
  }

  /** Sets an option that the format has. */
  set(name: string, value: CreateValue): void {
    const option = this.find(name)
    if (option !== undefined) this.#values.set(option, value)
  }

  /** The options that were given. */
  given(): Iterable<CreateOption> {
    return this.#values.keys()
  }

  /** ` name=value` for each option that was given, or has a default worth telling. */
  describe(): string {
    return this.options.map((option) => this.#describeOne(option)).join('')
  }

  #describeOne(option: CreateOption): string {
    const { schema } = option
    const fallback = 'default' in schema && schema.quiet !== true ? schema.default : undefined
    const value = this.#values.get(option) ?? fallback
    if (value === undefined) return ''
    return ` ${option.name}=${valueText(value)}`
  }

  /** @throws CommandError when a value is none of those that its option knows. */
  checkChoices(): void {
    for (const [{ name, schema }, value] of this.#values) {
      if (schema.type !== 'enum' || schema.values.includes(String(value))) continue
      throw new CommandError(
        `Parameter '${schema.aliases?.[0] ?? name.replace(/^.*\./, '')}' does not accept value '${value}'`,
      )
    }
  }

  /** What was given, nested, for the driver of the format or of the storage. */
  toOptions(ofStorage: boolean): Record<string, unknown> {
    const result: Record<string, unknown> = {}
    for (const [option, value] of this.#values) {
      if (option.ofStorage !== ofStorage) continue
      const [outer = '', inner] = option.path
      if (inner === undefined) result[outer] = value
      else result[outer] = { ...(result[outer] as Record<string, unknown> | undefined), [inner]: value }
    }
    return result
  }
}

function valueText(value: CreateValue): string {
  if (typeof value === 'boolean') return value ? 'on' : 'off'
  // All digits of a number above 2^53, too.
  return typeof value === 'number' ? String(BigInt(value)) : value.replaceAll(',', ',,')
}

function readValue({ name, schema }: CreateOption, text: string): CreateValue {
  if (schema.type === 'boolean') {
    if (text === 'on' || text === 'off') return text === 'on'
    throw new CommandError(`Parameter '${name}' expects 'on' or 'off'`)
  }
  if (schema.type !== 'integer' && schema.type !== 'number') return text
  if (schema.type === 'integer' && schema.size) {
    const size = parseSize(text)
    if (size !== undefined) return size
    throw new CommandError(`Parameter '${name}' expects a non-negative number below 2^64`, { hint: suffixHint })
  }
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(text)) throw new CommandError(`Parameter '${name}' expects a number`)
  return Number(text)
}

const suffixHint =
  'Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively.'

/** The text of `-o help`: one line for each option, sorted by name; for people with all values of a word. */
export function optionHelp(options: readonly CreateOption[], forPeople: boolean): string {
  const lines = options.map(({ name, schema }) => {
    const { description } = schema
    const untold = forPeople && schema.type === 'enum' && !schema.values.every((value) => description.includes(value))
    const values = untold ? ` (${schema.values.join(', ')})` : ''
    return `  ${`${name}=<${typeName(schema)}>`.padEnd(22)} - ${description}${values}\n`
  })
  return lines.sort().join('')
}

function typeName(schema: OptionSchema): string {
  if (schema.type === 'boolean') return 'bool (on/off)'
  if (schema.type === 'integer' || schema.type === 'number') return 'size' in schema && schema.size ? 'size' : 'num'
  return 'str'
}

/** What `-o help` prints: the options, and where to find more when no file name was given. */
export function newImageHelp(drivers: NewImageDrivers, filename: string | undefined, forPeople: boolean): string {
  const options = optionHelp(createOptionsOf(drivers), forPeople)
  if (filename !== undefined) return `Supported options:\n${options}`
  const more =
    '\nThe protocol level may support further options.\nSpecify the target filename to include those options.\n'
  return `Supported ${drivers.format.name} options:\n${options}${more}`
}

/** The definition that `graph.createUnchecked` takes for a new image called `filename`. */
export function newImageDefinition(
  drivers: NewImageDrivers,
  filename: string,
  values: CreateValues,
): Record<string, unknown> {
  const { format, storage } = drivers
  const own: Record<string, unknown> = { driver: format.name, ...values.toOptions(false) }
  for (const { path, schema } of values.given()) {
    const [name = ''] = path
    if (schema.type === 'child') own[name] = fileBeside(filename, String(own[name]), storage ?? format)
  }
  if (storage === undefined) return { ...own, ...namedBy(format, filename) }
  return { ...own, file: { driver: storage.name, ...namedBy(storage, filename), ...values.toOptions(true) } }
}

/**
 * The definition of one more file of the image `filename`. Images look for it beside themselves; where the name is
 * meant from elsewhere, it becomes absolute.
 */
function fileBeside(filename: string, name: string, storage: DriverDescriptor): Record<string, unknown> {
  if (protocolOf(name) !== undefined) return { driver: storage.name, ...namedBy(storage, name) }
  const elsewhere = protocolOf(filename) === undefined && dirname(filename) !== '.'
  return { driver: 'file', filename: elsewhere ? resolve(name) : name }
}

function namedBy(driver: DriverDescriptor, filename: string): Record<string, unknown> {
  return driver.parseFilename?.(filename) ?? { filename }
}

/** Why a new image of `format` could not be made. */
export function creationReason(error: unknown, format: string): string {
  if (!isBlockError(error) || error.code !== 'EFBIG') return messageOf(error)
  const advice = format === 'qcow2' || format === 'qed' ? ' (try using a larger cluster size)' : ''
  return `The image size is too large for file format '${format}'${advice}`
}
