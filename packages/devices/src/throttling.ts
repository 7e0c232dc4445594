/** `block_set_io_throttle`: its arguments, and the limits of a device as `query-block` tells them. */

import { BlockError } from '@diskgraph/core'
import { type BucketName, noLimits, type ThrottleLimits } from '@diskgraph/throttle'

/** The limits of QAPI's BlockIOThrottle, by the bucket that each is of. */
const shortNames: Readonly<Record<BucketName, string>> = {
  bpsTotal: 'bps',
  bpsRead: 'bpsRd',
  bpsWrite: 'bpsWr',
  iopsTotal: 'iops',
  iopsRead: 'iopsRd',
  iopsWrite: 'iopsWr',
}
const buckets = Object.entries(shortNames) as [BucketName, string][]

/** Limits by the names of `block_set_io_throttle`, in camelCase: `bps`, `iopsRdMax`, `bpsMaxLength`, `iopsSize`. */
export type ShortLimits = Readonly<Record<string, number>>

/** All limits of `given`; what is left out is none. EINVAL for what is no limit. */
export function fromShortLimits(given: ShortLimits): ThrottleLimits {
  const limits: Record<string, number> = { ...noLimits }
  const names = new Map<string, string>([['iopsSize', 'iopsSize']])
  for (const [name, short] of buckets) {
    for (const end of ['', 'Max', 'MaxLength']) names.set(`${short}${end}`, `${name}${end}`)
  }
  for (const [short, value] of Object.entries(given)) {
    const name = names.get(short)
    if (name === undefined) throw new BlockError('EINVAL', `Parameter '${short}' is unexpected`)
    if (value !== undefined) limits[name] = value
  }
  return limits as ThrottleLimits
}

/** Whether anything is limited. */
export function isLimited(limits: ThrottleLimits): boolean {
  return buckets.some(([name]) => limits[name] > 0)
}

/** The limits as BlockDeviceInfo has them: averages always, bursts and their lengths where there are any. */
export function toShortLimits(limits: ThrottleLimits = noLimits): ShortLimits {
  const result: Record<string, number> = {}
  for (const [name, short] of buckets) {
    result[short] = limits[name]
    if (limits[`${name}Max`] === 0) continue
    result[`${short}Max`] = limits[`${name}Max`]
    result[`${short}MaxLength`] = limits[`${name}MaxLength`]
  }
  if (limits.iopsSize > 0) result.iopsSize = limits.iopsSize
  return result
}
