import { maxOffset } from '../bytes.ts'
import type { Limits } from '../contract/contract.ts'

/** The longest request that the core takes: 2 GiB less one sector, as in QEMU. */
export const maxRequest = 2 ** 31 - 512

/** Limits of an image that declares none. */
export const defaultLimits: Limits = {
  alignment: 1,
  maxTransfer: maxRequest,
  maxWriteZeroes: maxOffset,
  writeZeroesAlignment: 1,
  maxDiscard: maxOffset,
  discardAlignment: 1,
  optimalTransfer: 0,
}

/** `declared` completed with defaults. The longest piece of a request is at least one unit, or it would never end. */
export function resolveLimits(declared: Partial<Limits> | undefined): Limits {
  if (declared === undefined) return defaultLimits
  const given = Object.fromEntries(Object.entries(declared).filter(([, value]) => value !== undefined))
  const limits: Limits = { ...defaultLimits, ...given }
  const { alignment, writeZeroesAlignment, discardAlignment } = limits
  return {
    ...limits,
    maxTransfer: Math.max(limits.maxTransfer, alignment),
    maxWriteZeroes: Math.max(limits.maxWriteZeroes, alignment, writeZeroesAlignment),
    maxDiscard: Math.max(limits.maxDiscard, alignment, discardAlignment),
  }
}
