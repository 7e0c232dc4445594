/**
 * How `console.log` of Node shows an object: its kind, and what `JSON.stringify` would tell, which is little and holds
 * nothing that is secret. The symbol is Node's; elsewhere nobody asks for it.
 */
export const inspection: unique symbol = Symbol.for('nodejs.util.inspect.custom') as never

/** Node's function, which it hands to what shows itself. */
export type Inspect = (value: unknown, options: object) => string

/** What a method called {@link inspection} answers. */
export function inspected(kind: string, told: { toJSON(): unknown }, options: object, inspect: Inspect): string {
  return `${kind} ${inspect(told.toJSON(), options)}`
}
