/** Types of objects, with the properties that QAPI has for them. */
import type { Schema } from '@diskgraph/qapi'
import { QmpError } from '../errors.ts'

/** The type above each; those that only stand above others are abstract. */
const parents: Readonly<Record<string, string>> = {
  'authz-list': 'authz',
  'authz-simple': 'authz',
  iothread: 'object',
  secret: 'secret_common',
  'throttle-group': 'object',
  'tls-creds-anon': 'tls-creds',
  'tls-creds-psk': 'tls-creds',
  'tls-creds-x509': 'tls-creds',
  authz: 'object',
  secret_common: 'object',
  'tls-creds': 'object',
}

const abstract = new Set(['authz', 'secret_common', 'tls-creds'])

/** What a property is where it was not given; for all types, as none has another meaning in two of them. */
const defaults: Readonly<Record<string, unknown>> = {
  'aio-max-batch': 0,
  dir: '',
  endpoint: 'client',
  file: '',
  format: 'raw',
  iv: '',
  keyid: '',
  loaded: true,
  passwordid: '',
  policy: 'deny',
  'poll-grow': 0,
  'poll-max-ns': 32768,
  'poll-shrink': 0,
  priority: '',
  rules: [],
  'sanity-check': true,
  'thread-pool-max': 64,
  'thread-pool-min': 0,
  username: '',
  'verify-peer': true,
}

/** A property: its name, and its type as QOM calls it. */
export interface Property {
  readonly name: string
  readonly type: string
}

/** The types that implement `name`, those that cannot be made only with `withAbstract`. */
export function objectTypes(name: string | undefined, withAbstract: boolean) {
  const implementing = (type: string): boolean => {
    for (let at: string | undefined = type; at !== undefined; at = parents[at])
      if (at === (name ?? 'object')) return true
    return false
  }
  const found = Object.keys(parents).filter((type) => implementing(type) && (withAbstract || !abstract.has(type)))
  return found.map((type) => ({
    name: type,
    ...(abstract.has(type) ? { abstract: true } : {}),
    parent: parents[type] as string,
  }))
}

/** The properties of a type; the content of a secret is none. DeviceNotFound for what is no type. */
export function propertiesOf(schema: Schema, type: string): Property[] {
  const options = schema.type('ObjectOptions')
  const variants: Readonly<Record<string, string>> =
    options !== undefined && 'struct' in options ? (options.variants ?? {}) : {}
  const definition = Object.hasOwn(variants, type) ? schema.type(variants[type] as string) : undefined
  if (definition === undefined || !('struct' in definition)) {
    throw new QmpError('DeviceNotFound', `Class '${type}' not found`, 'ENODEV')
  }
  const own = Object.entries(definition.struct).map(([name, ref]) => {
    const [one] = typeof ref === 'string' ? [ref] : ref
    return { name: name.replace(/^\*/, ''), type: one === 'str' ? 'string' : one }
  })
  return [{ name: 'type', type: 'string' }, ...own.filter(({ name }) => name !== 'data')]
}

/** What a property is that was not given. */
export function defaultOf(name: string): unknown {
  return defaults[name]
}
