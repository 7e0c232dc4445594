/** What a program without types may hand over, checked before any work begins. All errors are EINVAL. */
import { BlockError, type OptionSchema, type OptionSchemas, validateOptions } from '@diskgraph/core/driver'
import { kindOf } from '@diskgraph/core/internal'

/** Settings by what they are. */
export const due = {
  callback: objectOf('a function', (value) => typeof value === 'function'),
  clock: objectOf('a clock', (value) => hasMethod(value, 'now') && hasMethod(value, 'timeout')),
  signal: objectOf('an AbortSignal', (value) => hasMethod(value, 'addEventListener')),
  tls: objectOf('one side of TLS, as TlsCredentials makes it', (value) => hasMethod(value, 'secure')),
  text: { type: 'string', description: '' },
  texts: { type: 'list', items: { type: 'string', description: '' }, description: '' },
  flag: { type: 'boolean', description: '' },
  /** A number of anything; of time also with a fraction. */
  count: { type: 'integer', minimum: 0, description: '' },
  time: { type: 'number', minimum: 0, description: '' },
} as const satisfies OptionSchemas

/** A setting that is passed on as it is. */
export function objectOf(expects: string, check: (value: unknown) => boolean): OptionSchema {
  return { type: 'value', expects, check, description: '' }
}

/** The `settings` of `call`, of which none is unknown and each is what `schemas` say. */
export function checkedSettings<T>(call: string, schemas: OptionSchemas, settings: T): T {
  if (typeof settings !== 'object' || settings === null || Array.isArray(settings)) {
    throw new BlockError('EINVAL', `${call} takes an object of settings, not ${kindOf(settings)}`)
  }
  return validateOptions(schemas, settings as Readonly<Record<string, unknown>>, {
    unknown: (name) => `${call} has no setting '${name}'`,
  }) as T
}

/** Throws for what is no graph. */
export function mustBeGraph(call: string, graph: unknown): void {
  if (hasMethod(graph, 'attachRoot')) return
  throw new BlockError('EINVAL', `${call} needs a graph, not ${kindOf(graph)}`)
}

/** Throws for what is no stream of bytes. */
export function mustBeStream(call: string, stream: unknown): void {
  if (hasMethod(stream, 'write') && hasMethod(stream, 'on') && hasMethod(stream, 'destroy')) return
  throw new BlockError('EINVAL', `${call} needs a stream of bytes, such as a socket, not ${kindOf(stream)}`)
}

function hasMethod(value: unknown, name: string): boolean {
  return typeof value === 'object' && value !== null && typeof (value as Record<string, unknown>)[name] === 'function'
}
