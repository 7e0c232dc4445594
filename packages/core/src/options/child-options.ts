/** Options that are children, told apart from plain ones. */
import type { ChildRole } from '../contract/contract.ts'
import type { DriverDescriptor } from '../contract/descriptor.ts'
import type { OptionSchema, OptionSchemas } from '../contract/option-schema.ts'
import { BlockError } from '../errors.ts'

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

/** The name of a new child behind the others of the list `list`: `children.3`. */
export function nextChildName(
  { children, driver }: { readonly children: ReadonlyMap<string, unknown>; readonly driver: DriverDescriptor },
  list: string,
): string {
  if (driver.options[list]?.type !== 'children') {
    throw new BlockError('EINVAL', `driver '${driver.name}' has no list of children '${list}'`)
  }
  const prefix = `${list}.`
  const indexes = [...children.keys()]
    .filter((name) => name.startsWith(prefix))
    .map((name) => Number(name.slice(prefix.length)))
  return prefix + (Math.max(-1, ...indexes) + 1)
}

/** The role of the child that an image refers to; one of a list is named `extents.3`. */
export function roleOf(driver: DriverDescriptor, name: string): ChildRole {
  const schema = driver.options[name.replace(/\.\d+$/, '')]
  return schema?.type === 'child' || schema?.type === 'children' ? schema.role : 'cow'
}

/** The options that were given as text and are none. */
export function spelledOptions(
  text: Readonly<Record<string, unknown>>,
  given: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(text).filter(([name, value]) => typeof value === 'string' && typeof given[name] !== 'string'),
  )
}
