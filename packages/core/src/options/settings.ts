/** What a program without types may hand over, checked before any work begins. All errors are EINVAL. */

import { isByteCount } from '../bytes.ts'
import { BlockError } from '../errors.ts'
import { kindOf } from '../inspection.ts'
import { nearestName } from './names.ts'

/** What an option has to be: in the words of messages, and as a check. */
interface Rule {
  readonly is: string
  readonly required?: boolean
  check(value: unknown): boolean
}

/** Rules by the name of the option. */
export type Rules = Readonly<Record<string, Rule>>

/** A rule of one's own. `is` continues "the option is …": `a node of the graph`. */
export function rule(is: string, check: (value: unknown) => boolean): Rule {
  return { is, check }
}

/** Whether `value` is an object that has a method called so. */
export function hasMethod(value: unknown, name: string): boolean {
  return typeof value === 'object' && value !== null && typeof (value as Record<string, unknown>)[name] === 'function'
}

/** Rules that many calls have. */
export const due = {
  flag: rule('true or false', (value) => typeof value === 'boolean'),
  text: rule('a text', (value) => typeof value === 'string'),
  bytes: rule('a whole number of bytes', isByteCount),
  callback: rule('a function', (value) => typeof value === 'function'),
  signal: rule('an AbortSignal', (value) => hasMethod(value, 'addEventListener') && 'aborted' in (value as object)),
  clock: rule('a clock', (value) => hasMethod(value, 'now') && hasMethod(value, 'timeout')),
  graph: rule('a graph', (value) => hasMethod(value, 'attachRoot')),
}

/** The number of something, from `least` to `most`. */
export function wholeNumber(least = 0, most: number = Number.MAX_SAFE_INTEGER): Rule {
  const range = most === Number.MAX_SAFE_INTEGER ? `from ${least} on` : `from ${least} to ${most}`
  const inRange = (value: unknown): boolean => (value as number) >= least && (value as number) <= most
  return rule(`a whole number ${range}`, (value) => Number.isSafeInteger(value) && inRange(value))
}

/** A number with a fraction or without, from `least` on. `what`: `milliseconds`. */
export function amount(what: string, least = 0): Rule {
  return rule(`a number of ${what} from ${least} on`, (value) => Number.isFinite(value) && (value as number) >= least)
}

/** One of some words. */
export function oneOf(...values: readonly string[]): Rule {
  return rule(`one of ${values.map((value) => `'${value}'`).join(', ')}`, (value) => values.includes(value as string))
}

/** Refuses options of `call` that `rules` does not know or that break theirs, and the lack of a required one. */
export function checkSettings(call: string, rules: Rules, given: unknown): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new BlockError('EINVAL', `${call} takes an object of options, not ${kindOf(given)}`)
  }
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue
    const own = Object.hasOwn(rules, name) ? rules[name] : undefined
    if (own === undefined) {
      const near = nearestName(name, Object.keys(rules))
      const hint = near === undefined ? `its options are ${Object.keys(rules).join(', ')}` : `did you mean '${near}'?`
      throw new BlockError('EINVAL', `${call} has no option '${name}'`, { hint })
    }
    if (own.check(value)) continue
    throw new BlockError('EINVAL', `the option '${name}' of ${call} is ${own.is}, not ${shown(value)}`)
  }
  for (const [name, { is, required }] of Object.entries(rules)) {
    if (!required || (given as Readonly<Record<string, unknown>>)[name] !== undefined) continue
    throw new BlockError('EINVAL', `${call} needs the option '${name}', ${is}`)
  }
}

function shown(value: unknown): string {
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  return typeof value === 'string' ? `'${value}'` : kindOf(value)
}
