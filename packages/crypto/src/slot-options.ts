/** A change of key slots as options say it, with secrets instead of passwords. */
import { BlockError } from '@diskgraph/core/driver'
import type { KeySlotChange } from './luks1-volume.ts'

/** QAPI's QCryptoBlockAmendOptionsLUKS in camelCase. */
export interface SlotOptions {
  readonly state?: 'active' | 'inactive'
  readonly newSecret?: string
  readonly oldSecret?: string
  /** Default: that which the volume was opened with. */
  readonly secret?: string
  readonly keyslot?: number
  readonly iterTime?: number
}

/** The change that `options` stand for; `host` has the secrets, and names the one that the volume was opened with. */
export function slotChange(
  options: SlotOptions,
  force: boolean,
  host: { secret(id: string): Uint8Array; readonly keySecret?: string | undefined },
): KeySlotChange {
  const { state, newSecret, oldSecret, secret, keyslot, iterTime } = options
  if (state === undefined) throw new BlockError('EINVAL', "Parameter 'state' is missing")
  const password = (id: string | undefined): Uint8Array | undefined => (id === undefined ? undefined : host.secret(id))
  return {
    state,
    newPassword: password(newSecret),
    oldPassword: password(oldSecret),
    knownPassword: password(secret ?? host.keySecret),
    keyslot,
    iterTime,
    force,
  }
}
