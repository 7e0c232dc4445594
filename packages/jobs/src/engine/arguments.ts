/** What a program without types may hand over, checked before any work begins. All errors are EINVAL. */
import { BlockError, type Disk } from '@diskgraph/core'
import { kindOf } from '@diskgraph/core/internal'

/** What is due where `value` is not right; undefined where it is. */
type Rule = (value: unknown) => string | undefined

/** Rules by the name of the option. */
type Rules = Readonly<Record<string, Rule>>

export const bytes: Rule = (value) =>
  Number.isSafeInteger(value) && (value as number) >= 0 ? undefined : 'a whole number of bytes'
export const flag: Rule = (value) => (typeof value === 'boolean' ? undefined : 'true or false')
export const callback: Rule = (value) => (typeof value === 'function' ? undefined : 'a function')
export const text: Rule = (value) => (typeof value === 'string' ? undefined : 'a text')
export const aSignal: Rule = (value) =>
  isObject(value) && typeof value.addEventListener === 'function' && typeof value.aborted === 'boolean'
    ? undefined
    : 'an AbortSignal'
export const aNode: Rule = (value) =>
  isObject(value) && isObject(value.image) && 'driver' in value ? undefined : 'a node of the graph'

export function oneOf(...values: readonly string[]): Rule {
  const due = values.map((value) => `'${value}'`).join(', ')
  return (value) => (values.includes(value as string) ? undefined : `one of ${due}`)
}

export function wholeNumber(least: number, most: number = Number.MAX_SAFE_INTEGER): Rule {
  const range = most === Number.MAX_SAFE_INTEGER ? `from ${least} on` : `from ${least} to ${most}`
  return (value) =>
    Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most
      ? undefined
      : `a whole number ${range}`
}

/** The rules of what all calls take; see `WorkOptions`. */
export const workRules: Rules = {
  signal: aSignal,
  onProgress: callback,
  speed: (value) => (typeof value === 'number' && value > 0 ? undefined : 'a number of bytes per second above 0'),
}

/** Refuses options that `rules` does not know, or that break theirs. An option that is undefined is left out. */
export function checkOptions(call: string, options: unknown, rules: Rules): void {
  if (!isObject(options)) throw new BlockError('EINVAL', `${call} takes an object of options, not ${kindOf(options)}`)
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue
    if (!Object.hasOwn(rules, name)) {
      const known = Object.keys(rules).join(', ')
      throw new BlockError('EINVAL', `${call} has no option '${name}'`, { hint: `its options are ${known}` })
    }
    const due = rules[name]?.(value)
    if (due !== undefined)
      throw new BlockError('EINVAL', `the option '${name}' of ${call} is ${due}, not ${shown(value)}`)
  }
}

/** Refuses what is no open disk (ENOMEDIUM when it is closed). `what` says where it stands: `the overlay of commit`. */
export function checkDisk(what: string, value: unknown): asserts value is Disk {
  if (!isObject(value) || !isObject(value.edge) || !isObject(value.graph) || typeof value.read !== 'function') {
    throw new BlockError('EINVAL', `${what} is an open disk, not ${kindOf(value)}`)
  }
  const disk = value as unknown as Disk
  if (disk.closed) throw new BlockError('ENOMEDIUM', `${what}, '${disk.filename}', is closed`)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function shown(value: unknown): string {
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  return typeof value === 'string' ? `'${value}'` : kindOf(value)
}
