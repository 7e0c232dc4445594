/** `-drive`: what its keys say of the node, of the device above it, and of the place where the device sits. */
import { fromQapi } from '@diskgraph/core/internal'
import type { DeviceSettings, ErrorPolicies } from '@diskgraph/devices'
import { parseKeyValues, toObject } from '@diskgraph/qapi'
import { limitsOfProperties, type ThrottleLimits } from '@diskgraph/throttle'
import { StartError } from '../failure.ts'

/** Where a drive sits: `none` is left to `-device`. */
export type Interface = 'none' | 'ide' | 'scsi' | 'floppy' | 'virtio' | 'pflash' | 'mtd' | 'sd'

/** What one `-drive` asks for. */
export interface DriveRequest {
  readonly interface: Interface
  readonly media: 'disk' | 'cdrom'
  readonly index: number | undefined
  readonly id: string | undefined
  /** A file name, with options beside it or without; undefined if it is named by options alone. */
  readonly filename: string | undefined
  /** Options of the node, camelCase. Undefined for an empty drive. */
  readonly node: Readonly<Record<string, unknown>> | undefined
  readonly device: DeviceSettings
  readonly limits: ThrottleLimits
  readonly group: string | undefined
  /** Changes go into an overlay that vanishes. */
  readonly snapshot: boolean
  readonly copyOnRead: boolean
}

const interfaces: readonly string[] = ['none', 'ide', 'scsi', 'floppy', 'virtio', 'pflash', 'mtd', 'sd']

/** Short names of options by the long ones. */
const aliases: Readonly<Record<string, string>> = Object.fromEntries([
  ...['iops', 'bps'].flatMap((unit) =>
    [
      ['', '-total'],
      ['_rd', '-read'],
      ['_wr', '-write'],
    ].flatMap(([short, long]) => [
      [`${unit}${short}`, `throttling.${unit}${long}`],
      [`${unit}${short}_max`, `throttling.${unit}${long}-max`],
    ]),
  ),
  ['iops_size', 'throttling.iops-size'],
  ['group', 'throttling.group'],
  ['readonly', 'read-only'],
])

const cacheModes: Readonly<Record<string, { direct: boolean; noFlush: boolean; writeback: boolean }>> = {
  none: { direct: true, noFlush: false, writeback: true },
  off: { direct: true, noFlush: false, writeback: true },
  directsync: { direct: true, noFlush: false, writeback: false },
  writeback: { direct: false, noFlush: false, writeback: true },
  writethrough: { direct: false, noFlush: false, writeback: false },
  unsafe: { direct: false, noFlush: true, writeback: true },
}

/** Keys that say nothing of the node. Those without a meaning here belong to a machine. */
const ownKeys = new Set([
  'if',
  'media',
  'index',
  'bus',
  'unit',
  'id',
  'file',
  'format',
  'driver',
  'serial',
  'rerror',
  'werror',
  'cache',
  'cache.writeback',
  'aio',
  'snapshot',
  'copy-on-read',
  'read-only',
  'auto-read-only',
  'stats-account-invalid',
  'stats-account-failed',
  'addr',
])

/** Reads the value of `-drive`. `defaults` hold where it says nothing. */
export function parseDrive(text: string, defaults: { readonly interface: Interface }): DriveRequest {
  const given = withLongNames(toObject(parseKeyValues(text, 'file')))
  const { if: place = defaults.interface, media = 'disk', file, driver, format, id } = given
  if (!interfaces.includes(place)) throw new StartError(`unsupported bus type '${place}'`)
  if (media !== 'disk' && media !== 'cdrom') throw new StartError(`'${media}' invalid media`)
  if (driver !== undefined && format !== undefined) throw new StartError("Cannot specify both 'driver' and 'format'")
  if (id !== undefined) checkIdentifier(id)
  const { policies, limits, group } = deviceParts(given)
  const intervals = intervalsOf(given)
  const readOnly = bool(given, 'read-only', media === 'cdrom')
  const further = nodeKeys(given, driver ?? format)
  const isNamed = file !== undefined && file !== ''
  const isEmpty = !isNamed && driver === undefined && format === undefined && Object.keys(further).length === 0
  const cache = cacheOf(given)
  const autoReadOnly = bool(given, 'auto-read-only', false)
  const base = { readOnly, autoReadOnly, cache: { direct: cache.direct, noFlush: cache.noFlush } }
  return {
    interface: place as Interface,
    media,
    index: indexOf(given),
    id,
    filename: isNamed ? file : undefined,
    node: isEmpty ? undefined : { ...base, ...fromQapi(nested(further)) },
    device: {
      ...policies,
      mediaReadOnly: readOnly,
      writeCache: cache.writeback,
      accountFailed: bool(given, 'stats-account-failed', true),
      accountInvalid: bool(given, 'stats-account-invalid', true),
      intervals,
    },
    limits,
    group,
    snapshot: bool(given, 'snapshot', false),
    copyOnRead: bool(given, 'copy-on-read', false),
  }
}

/** `stats-intervals.0`, `.1` and so on, in seconds. */
function intervalsOf(given: Readonly<Record<string, string>>): number[] {
  const texts = Object.entries(given).filter(([name]) => name.startsWith('stats-intervals.'))
  return texts.map(([name], i) => {
    const text = given[`stats-intervals.${i}`]
    if (text === undefined) throw new StartError(`Invalid option ${name}`)
    if (!/^\d{1,10}$/.test(text)) throw new StartError(`Invalid interval length: ${text}`)
    return Number(text)
  })
}

function withLongNames(given: Readonly<Record<string, string>>): Record<string, string> {
  const result: Record<string, string> = {}
  for (const [name, value] of Object.entries(given)) {
    const long = aliases[name]
    if (long !== undefined && long in given) {
      throw new StartError(`'${long}' and its alias '${name}' can't be used at the same time`)
    }
    result[long ?? name] = value
  }
  return result
}

function checkIdentifier(id: string): void {
  if (/^[A-Za-z][\w.-]*$/.test(id)) return
  throw new StartError(
    "Parameter 'id' expects an identifier\nIdentifiers consist of letters, digits, '-', '.', '_', starting with a letter.",
  )
}

function deviceParts(given: Readonly<Record<string, string>>): {
  readonly policies: Partial<ErrorPolicies>
  readonly limits: ThrottleLimits
  readonly group: string | undefined
} {
  const { rerror, werror, aio } = given
  if (aio !== undefined && !['threads', 'native', 'io_uring'].includes(aio)) throw new StartError('invalid aio option')
  const throttling = Object.entries(given).flatMap(([name, value]) =>
    name.startsWith('throttling.') ? [[name.slice('throttling.'.length), representable(value)] as const] : [],
  )
  const { group, ...limits } = Object.fromEntries(throttling)
  for (const [name, value] of Object.entries(limits)) {
    if (/^[+-]?(?:0x[\da-f]+|\d+)$/i.test(value)) continue
    const hint = `it is a number of bytes or operations per second without a suffix, such as ${2 ** 20}`
    throw new StartError(`Parameter 'throttling.${name}' expects a number`, undefined, hint)
  }
  return {
    policies: {
      ...(rerror === undefined ? {} : { rerror: rerror as ErrorPolicies['rerror'] }),
      ...(werror === undefined ? {} : { werror: werror as ErrorPolicies['werror'] }),
    },
    limits: limitsOfProperties({ limits: fromQapi(limits) }),
    group,
  }
}

/** A number too large for numbers is the largest one: it is out of every range. */
function representable(value: string): string {
  return /^\d+$/.test(value) && Number(value) > Number.MAX_SAFE_INTEGER ? String(Number.MAX_SAFE_INTEGER) : value
}

/** The keys that are options of the node; a driver among them. */
function nodeKeys(given: Readonly<Record<string, string>>, driver: string | undefined): Record<string, string> {
  const rest = Object.entries(given).filter(
    ([name]) => !ownKeys.has(name) && !name.startsWith('throttling.') && !name.startsWith('stats-intervals.'),
  )
  return { ...Object.fromEntries(rest), ...(driver === undefined ? {} : { driver }) }
}

/** `file.filename` of `{ 'file.filename': 'a' }` as `{ file: { filename: 'a' } }`. */
function nested(flat: Readonly<Record<string, string>>): Record<string, unknown> {
  const result: Record<string, unknown> = Object.create(null)
  for (const [name, value] of Object.entries(flat)) {
    const path = name.split('.')
    let at = result
    for (const part of path.slice(0, -1)) {
      const inner = at[part] ?? Object.create(null)
      if (typeof inner === 'string')
        throw new StartError(`Can't specify '${part}' and '${name}' options at the same time`)
      at[part] = inner
      at = inner as Record<string, unknown>
    }
    at[path[path.length - 1] as string] = value
  }
  return listed(result) as Record<string, unknown>
}

/** Objects whose names are 0, 1, 2 … as lists. */
function listed(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value)
  const isList = entries.length > 0 && entries.every(([name], i) => name === String(i))
  if (isList) return entries.map(([, inner]) => listed(inner))
  return Object.fromEntries(entries.map(([name, inner]) => [name, listed(inner)]))
}

function cacheOf(given: Readonly<Record<string, string>>): { direct: boolean; noFlush: boolean; writeback: boolean } {
  const { cache } = given
  const mode = cacheModes[cache ?? 'writeback']
  if (mode === undefined) throw new StartError('invalid cache option')
  return {
    direct: bool(given, 'cache.direct', mode.direct),
    noFlush: bool(given, 'cache.no-flush', mode.noFlush),
    writeback: bool(given, 'cache.writeback', mode.writeback),
  }
}

function indexOf({ index, bus = '0', unit }: Readonly<Record<string, string>>): number | undefined {
  if (index === undefined && unit === undefined) return undefined
  const number = index === undefined ? Number(bus) * 2 + Number(unit ?? 0) : Number(index)
  if (!Number.isSafeInteger(number) || number < 0) throw new StartError("Parameter 'index' expects a number")
  return number
}

function bool(given: Readonly<Record<string, string>>, name: string, otherwise: boolean): boolean {
  const value = given[name]
  if (value === undefined) return otherwise
  if (value === 'on' || value === 'yes' || value === 'true' || value === 'y') return true
  if (value === 'off' || value === 'no' || value === 'false' || value === 'n') return false
  throw new StartError(`Parameter '${name}' expects 'on' or 'off'`)
}
