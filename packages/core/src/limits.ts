import { maxOffset } from './bytes.ts'
import type { Limits } from './contract.ts'

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

/** `declared` completed with defaults. */
export function resolveLimits(declared: Partial<Limits> | undefined): Limits {
  return declared === undefined ? defaultLimits : { ...defaultLimits, ...declared }
}
