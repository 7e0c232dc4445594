/** Options that are children, told apart from plain ones. */
import type { ChildRole, DriverDescriptor } from '../contract/contract.ts'
import type { OptionSchema, OptionSchemas } from '../contract/option-schema.ts'
import { BlockError } from '../errors.ts'
import type { Node } from '../graph/node.ts'
import { isNode } from '../graph/parent.ts'
import { isRecord } from './validate.ts'

type ChildSchema = Extract<OptionSchema, { readonly type: 'child' | 'children' }>

/** The children that a definition names, lists as `children.0`, `children.1` …; null and '' mean none. */
export function* namedChildren(
  schemas: OptionSchemas,
  given: Readonly<Record<string, unknown>>,
): Generator<{ name: string; role: ChildRole; value: unknown }> {
  for (const [name, schema] of Object.entries(schemas)) {
    const value = given[name]
    if (schema.type === 'child') {
      if (isNone(value)) continue
      yield { name, role: schema.role, value }
    } else if (schema.type === 'children') {
      const list = value ?? []
      if (!Array.isArray(list)) throw new BlockError('EINVAL', `Parameter '${name}' expects a list of nodes`)
      if (list.length < (schema.minimum ?? 0)) {
        throw new BlockError('EINVAL', `Number of provided ${name} must be ${schema.minimum} or more`)
      }
      for (const [i, item] of list.entries()) yield { name: `${name}.${i}`, role: schema.role, value: item }
    }
  }
}

/** The schema of the child `name` of `driver`; one of a list is named `children.3`. EINVAL if it has none. */
export function childSchema({ name: driver, options }: DriverDescriptor, name: string): ChildSchema {
  const list = listOf(name)
  const schema = Object.hasOwn(options, list) ? options[list] : undefined
  if (schema?.type === 'child' && list === name) return schema
  if (schema?.type === 'children' && list !== name) return schema
  throw new BlockError('EINVAL', `driver '${driver}' has no child '${String(name)}'`)
}

/** The option that the child `name` belongs to. */
export function listOf(name: string): string {
  return String(name).replace(/\.(0|[1-9]\d*)$/, '')
}

/** Refuses a definition without a child that it must have. */
export function requireChildren(schemas: OptionSchemas, given: Readonly<Record<string, unknown>>): void {
  for (const [name, schema] of Object.entries(schemas)) {
    if (schema.type !== 'child' || !schema.required || !isNone(given[name])) continue
    throw new BlockError('EINVAL', `A block device must be specified for "${name}"`)
  }
}

function isNone(value: unknown): boolean {
  return value === undefined || value === null || value === ''
}

function isChildSchema(schema: OptionSchema): boolean {
  return schema.type === 'child' || schema.type === 'children'
}

/** The schemas of plain options. */
export function withoutChildSchemas(schemas: OptionSchemas): OptionSchemas {
  return Object.fromEntries(Object.entries(schemas).filter(([, schema]) => !isChildSchema(schema)))
}

/** `given` without children. */
export function withoutChildren(
  schemas: OptionSchemas,
  given: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  return pick(given, withoutChildSchemas(schemas))
}

/** The entries of `given` that `schemas` knows. */
export function pick(given: Readonly<Record<string, unknown>>, schemas: OptionSchemas): Record<string, unknown> {
  return Object.fromEntries(Object.entries(given).filter(([name]) => Object.hasOwn(schemas, name)))
}

/** The child option of a filter whose content it shows. EINVAL for a driver that is no filter of one child. */
export function filteredOption(driver: DriverDescriptor): string {
  const found = Object.entries(driver.options).find(
    ([, schema]) => schema.type === 'child' && schema.role === 'filtered',
  )
  if (driver.kind === 'filter' && found !== undefined) return found[0]
  throw new BlockError('EINVAL', `driver '${driver.name}' is no filter that shows the content of one child`)
}

/**
 * The options of a filter over the image in the file `named`. What they say of that image is added to it: with a driver
 * the file is below that, without one it is the image; it is not probed, as in QEMU.
 */
export function overImage(
  driver: DriverDescriptor,
  named: Readonly<Record<string, unknown>>,
  options: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const name = filteredOption(driver)
  const given = options[name] ?? {}
  if (isNode(given) || !isRecord(given)) {
    throw new BlockError(
      'EINVAL',
      `Parameter '${name}' is the image that the file name stands for: give one of the two`,
    )
  }
  const image = given.driver === undefined ? { ...named, ...given } : { file: named, ...given }
  return { ...options, [name]: image }
}

/** The name of a new child behind the others of the list `list`: `children.3`. */
export function nextChildName({ children, driver }: Node, list: string): string {
  if (driver.options[list]?.type !== 'children') {
    throw new BlockError('EINVAL', `driver '${driver.name}' has no list of children '${list}'`)
  }
  const prefix = `${list}.`
  const indexes = [...children.keys()]
    .filter((name) => name.startsWith(prefix))
    .map((name) => Number(name.slice(prefix.length)))
  return prefix + (Math.max(-1, ...indexes) + 1)
}
