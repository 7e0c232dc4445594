/** The options that every node has, as a schema. Their types are {@link BaseOptions} in `drivers.ts`. */

import type { DriverDescriptor } from '../contract/descriptor.ts'
import type { OptionSchemas } from '../contract/option-schema.ts'
import { BlockError } from '../errors.ts'
import { pick } from './child-options.ts'
import { validateOptions } from './validate.ts'

type Options = Readonly<Record<string, unknown>>

export const baseOptions: OptionSchemas = {
  driver: { type: 'string', required: true, description: 'driver of the node' },
  nodeName: { type: 'string', description: 'name to find the node by' },
  readOnly: { type: 'boolean', reopen: true, description: 'refuse all changes' },
  autoReadOnly: { type: 'boolean', reopen: true, description: 'open read-only where writing is not possible' },
  forceShare: { type: 'boolean', description: 'share everything with other users of a read-only image' },
  discard: {
    type: 'enum',
    values: ['ignore', 'unmap', 'off', 'on'],
    reopen: true,
    description: 'whether discards reach the storage',
  },
  detectZeroes: {
    type: 'enum',
    values: ['off', 'on', 'unmap'],
    reopen: true,
    description: 'turn writes of zeroes into efficient ones',
  },
  cache: {
    type: 'object',
    description: 'cache mode',
    reopen: true,
    properties: {
      direct: { type: 'boolean', description: "bypass the host's page cache" },
      noFlush: { type: 'boolean', description: 'do not pass flushes on' },
    },
  },
}

/** A name that a user gives to a node. EINVAL where QEMU would not take it; names with a `#` are the graph's own. */
export function checkedName(name: string): string {
  if (!/^[a-z][\w.-]*$/i.test(name)) throw new BlockError('EINVAL', `Invalid node-name: '${name}'`)
  if (name.length > longestName) throw new BlockError('EINVAL', 'Node name too long')
  return name
}

const longestName = 31

/** The base options of one node, resolved. */
export interface ResolvedBase {
  readonly readOnly: boolean
  readonly autoReadOnly: boolean
  readonly forceShare: boolean
  readonly discard: 'ignore' | 'unmap'
  readonly detectZeroes: 'off' | 'on' | 'unmap'
  readonly cache: { readonly direct: boolean; readonly noFlush: boolean }
}

/** What a child takes from its parent where its own definition is silent. */
export const topBase: ResolvedBase = {
  readOnly: false,
  autoReadOnly: true,
  forceShare: false,
  discard: 'ignore',
  detectZeroes: 'off',
  cache: { direct: false, noFlush: false },
}

/** Refuses base options that do not go together. */
export function checkBase({ detectZeroes, discard, forceShare, readOnly }: ResolvedBase): void {
  if (forceShare && !readOnly) {
    throw new BlockError('EINVAL', 'force-share=on can only be used with read-only images')
  }
  if (detectZeroes !== 'unmap' || discard === 'unmap') return
  throw new BlockError(
    'EINVAL',
    'setting detect-zeroes to unmap is not allowed without setting discard operation to unmap',
  )
}

/** `given` (validated) completed from `inherited`. */
export function resolveBase(given: Options, inherited: ResolvedBase): ResolvedBase {
  const cache = (given.cache ?? {}) as { direct?: boolean; noFlush?: boolean }
  const readOnly = given.readOnly as boolean | undefined
  const discard = given.discard as string | undefined
  return {
    readOnly: readOnly ?? inherited.readOnly,
    autoReadOnly: (given.autoReadOnly as boolean | undefined) ?? (readOnly === undefined && inherited.autoReadOnly),
    forceShare: (given.forceShare as boolean | undefined) ?? inherited.forceShare,
    discard: discard === undefined ? inherited.discard : discard === 'unmap' || discard === 'on' ? 'unmap' : 'ignore',
    detectZeroes: (given.detectZeroes as ResolvedBase['detectZeroes'] | undefined) ?? 'off',
    cache: { direct: cache.direct ?? inherited.cache.direct, noFlush: cache.noFlush ?? inherited.cache.noFlush },
  }
}

/** What `given` says that every node knows. What is wrong with it is told when the format is known. */
export function knownBase(given: Options): Options {
  try {
    return validateOptions(baseOptions, { ...pick(given, baseOptions), driver: '' })
  } catch {
    return {}
  }
}

/** Whether a node that might be written is of a driver that cannot. */
export function isForReading(driver: DriverDescriptor, base: ResolvedBase): boolean {
  return driver.readOnly === true && base.autoReadOnly && !base.readOnly
}

/** What the storage of a node takes from it. */
export function storageBase(base: ResolvedBase): ResolvedBase {
  return { ...base, discard: 'unmap', detectZeroes: 'off' }
}
