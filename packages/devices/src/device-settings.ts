/** What a device is, and what it shows to its guest. */
import { due, type Rules, rule } from '@diskgraph/core/internal'
import type { AccountingSettings } from './accounting.ts'
import type { ErrorPolicies } from './error-policy.ts'

/** What a device shows to its guest: a disk, a CD drive. */
export interface DeviceModel {
  /** `scsi-cd`. */
  readonly name: string
  /** The medium may be taken out. Default false. */
  readonly removable?: boolean
  /** It has a tray that opens and closes. Default false. */
  readonly tray?: boolean
  /** Errors that stop the guest are remembered. Default true. */
  readonly ioStatus?: boolean
  /** Others may write meanwhile. Default false. */
  readonly shareRw?: boolean
  /** Others may resize it meanwhile. Default true. */
  readonly resizable?: boolean
}

/** What {@link DeviceModel} may be. */
export const modelRules: Rules = {
  name: { ...due.text, required: true },
  removable: due.flag,
  tray: due.flag,
  ioStatus: due.flag,
  shareRw: due.flag,
  resizable: due.flag,
}

/** Settings of a new device. */
export interface DeviceSettings extends Partial<ErrorPolicies>, AccountingSettings {
  /** Its name, beside those of nodes. Default: none; then it is known by `qdev`. */
  readonly id?: string
  /** Nothing is written, whatever the node allows. Default false. */
  readonly readOnly?: boolean
  /** See `Device.mediaReadOnly`, as long as there was no medium. Default: as `readOnly`. */
  readonly mediaReadOnly?: boolean
  /** False: every write is on stable storage before it completes. Default true. */
  readonly writeCache?: boolean
  /** Nothing is written before a model is put over it, or `Device.mayWrite` is called. Default false. */
  readonly idle?: boolean
}

/** What {@link DeviceSettings} may be; policies and intervals are checked where they are read. */
export const deviceRules: Rules = {
  id: due.text,
  readOnly: due.flag,
  mediaReadOnly: due.flag,
  writeCache: due.flag,
  idle: due.flag,
  rerror: due.text,
  werror: due.text,
  accountFailed: due.flag,
  accountInvalid: due.flag,
  intervals: rule('a list of seconds', (value) => Array.isArray(value)),
}
