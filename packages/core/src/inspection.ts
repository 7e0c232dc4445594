/** How values are shown to people, by `console.log` and in messages: nothing that may be secret. */
import { BlockError } from './errors.ts'

/**
 * The name of the method by which Node's `console.log` shows an object. Here: its kind, and what `JSON.stringify` would
 * tell, which is little.
 */
export const inspection: unique symbol = Symbol.for('nodejs.util.inspect.custom') as never

/** Node's function, which it hands to what shows itself. */
export type Inspect = (value: unknown, options: object) => string

/** What a method called {@link inspection} answers. */
export function inspected(kind: string, told: { toJSON(): unknown }, options: object, inspect: Inspect): string {
  return `${kind} ${inspect(told.toJSON(), options)}`
}

/** Throws EINVAL for what cannot be called. */
export function mustBeFunction(what: string, value: unknown): void {
  if (typeof value !== 'function') throw new BlockError('EINVAL', `${what} is a function, not ${kindOf(value)}`)
}

/** What kind of value this is, for messages: the value itself may be a secret. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  return Array.isArray(value) ? 'a list' : `a value of type ${typeof value}`
}
