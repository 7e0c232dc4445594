/** The limits of a group, with the names and rules of QAPI's ThrottleLimits. */

import { BlockError, type OptionSchema, type OptionSchemas, validateOptions } from '@diskgraph/core/driver'

/** What one bucket limits: bytes or operations, of which requests. */
export type BucketName = 'bpsTotal' | 'bpsRead' | 'bpsWrite' | 'iopsTotal' | 'iopsRead' | 'iopsWrite'

/**
 * Bytes (`bps`) and operations (`iops`) per second; 0 is no limit. `Max` is the rate of a burst (0: none) and
 * `MaxLength` how many seconds it may last. `iopsSize`: a request of more bytes counts as several operations.
 */
export type ThrottleLimits = {
  readonly [Name in BucketName | `${BucketName}Max` | `${BucketName}MaxLength`]: number
} & { readonly iopsSize: number }

/** All buckets. */
export const bucketNames: readonly BucketName[] = [
  'bpsTotal',
  'bpsRead',
  'bpsWrite',
  'iopsTotal',
  'iopsRead',
  'iopsWrite',
]

/** Highest rate that QEMU takes. */
const highest = 1e15

/** Nothing is limited. */
export const noLimits: ThrottleLimits = Object.freeze({
  ...Object.fromEntries(
    bucketNames.flatMap((name) => [
      [name, 0],
      [`${name}Max`, 0],
      [`${name}MaxLength`, 1],
    ]),
  ),
  iopsSize: 0,
}) as ThrottleLimits

const meanings: Readonly<Record<BucketName, string>> = {
  bpsTotal: 'Bytes per second',
  bpsRead: 'Bytes read per second',
  bpsWrite: 'Bytes written per second',
  iopsTotal: 'Operations per second',
  iopsRead: 'Reads per second',
  iopsWrite: 'Writes per second',
}

function limitOptions(name: BucketName): (readonly [string, OptionSchema])[] {
  const what = meanings[name]
  return [
    [name, { type: 'integer', description: `${what}; 0: no limit` }],
    [`${name}Max`, { type: 'integer', description: `${what} in a burst; 0: no burst` }],
    [`${name}MaxLength`, { type: 'integer', description: `Seconds that a burst of \`${name}Max\` may last` }],
  ]
}

/** Schemas of {@link ThrottleLimits}. */
export const limitSchemas: OptionSchemas = {
  ...Object.fromEntries(bucketNames.flatMap(limitOptions)),
  iopsSize: { type: 'integer', description: 'A request of more bytes counts as several operations; 0: never' },
}

function flatName(name: string): string {
  return `x${name[0]?.toUpperCase()}${name.slice(1)}`
}

/** Schemas of a `throttle-group` object: `limits`, and the same members flat (`xIopsTotal`). */
export const groupSchemas: OptionSchemas = {
  limits: { type: 'object', properties: limitSchemas, description: 'What the members of the group do together' },
  ...Object.fromEntries(Object.entries(limitSchemas).map(([name, schema]) => [flatName(name), schema])),
}

/**
 * `changes` over `limits`. EINVAL for rates out of range, for totals beside limits of reads or writes alone, and for
 * bursts that make no sense.
 */
export function changedLimits(limits: ThrottleLimits, changes: Readonly<Record<string, unknown>>): ThrottleLimits {
  const given = validateOptions(limitSchemas, changes, { path: 'limits', withoutDefaults: true })
  const changed: ThrottleLimits = { ...limits, ...given }
  checkLimits(changed)
  return changed
}

/** The limits that properties of a `throttle-group` object say. EINVAL for a limit that is unknown or out of range. */
export function limitsOfProperties(properties: Readonly<Record<string, unknown>>): ThrottleLimits {
  const given = validateOptions(groupSchemas, properties, { withoutDefaults: true })
  const flat = Object.keys(limitSchemas).flatMap((name) => {
    const value = given[flatName(name)]
    return value === undefined ? [] : [[name, value]]
  })
  return changedLimits(noLimits, { ...Object.fromEntries(flat), ...(given.limits as object | undefined) })
}

function checkLimits(limits: ThrottleLimits): void {
  if (mixesTotals(limits, 'bps') || mixesTotals(limits, 'iops')) {
    refuse('bps/iops/max total values and read/write values cannot be used at the same time')
  }
  const { iopsSize } = limits
  if (iopsSize !== 0 && !['iopsTotal', 'iopsRead', 'iopsWrite'].some((name) => limits[name as BucketName] > 0)) {
    refuse('iops size requires an iops value to be set')
  }
  if (iopsSize < 0 || iopsSize > highest) refuse(outOfRange)
  for (const name of bucketNames) checkBucket(limits[name], limits[`${name}Max`], limits[`${name}MaxLength`])
}

const outOfRange = `bps/iops/max values must be within [0, ${highest}]`

function mixesTotals(limits: ThrottleLimits, unit: 'bps' | 'iops'): boolean {
  const read = limits[`${unit}Read`] !== 0 || limits[`${unit}Write`] !== 0
  const burst = limits[`${unit}ReadMax`] !== 0 || limits[`${unit}WriteMax`] !== 0
  return (limits[`${unit}Total`] !== 0 && read) || (limits[`${unit}TotalMax`] !== 0 && burst)
}

function checkBucket(average: number, burst: number, length: number): void {
  if (average < 0 || burst < 0 || average > highest || burst > highest) refuse(outOfRange)
  if (length <= 0) refuse('the burst length cannot be 0')
  if (length > 1 && burst === 0) refuse('burst length set without burst rate')
  if (burst > 0 && length > highest / burst) refuse('burst length too high for this burst rate')
  if (burst > 0 && average === 0) refuse('bps_max/iops_max require corresponding bps/iops values')
  if (burst > 0 && burst < average) refuse('bps_max/iops_max cannot be lower than bps/iops')
}

function refuse(message: string): never {
  throw new BlockError('EINVAL', message)
}
