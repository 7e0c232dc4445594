/** What `query-block` and `query-blockstats` tell of devices, with QAPI's fields in camelCase. */

import { type Clock, type Node, type RequestKind, type RequestTotals, Root } from '@diskgraph/core'
import { Accounting, type DeviceStatistics } from './accounting.ts'
import type { Device } from './device.ts'
import type { IoStatus } from './guest.ts'
import { type ShortLimits, toShortLimits } from './throttling.ts'

/** What QAPI's BlockInfo says of the device itself. */
export interface DeviceInfo {
  /** Its name; empty for one that has none. */
  readonly device: string
  readonly qdev?: string
  readonly type: 'unknown'
  readonly removable: boolean
  readonly locked: boolean
  /** Where there is a tray. */
  readonly trayOpen?: boolean
  readonly ioStatus?: IoStatus
  /** What BlockDeviceInfo says of the device beyond the node of its medium. */
  readonly inserted?: {
    readonly node: Node
    readonly readOnly: boolean
    readonly writeback: boolean
    /** `bps`, `iopsRd`, `bpsMax`… */
    readonly limits: ShortLimits
    readonly group?: string
  }
}

/** Tells of a device and, where it has a medium, of what it adds to the medium's node. */
export function deviceInfo(device: Device): DeviceInfo {
  const { qdev, ioStatus, throttle, id, removable, locked } = device
  const node = device.node?.shown
  const group = throttle?.group
  return {
    device: id,
    ...(qdev === undefined ? {} : { qdev }),
    type: 'unknown',
    removable,
    locked,
    ...(device.hasTray ? { trayOpen: device.trayOpen } : {}),
    ...(ioStatus === undefined ? {} : { ioStatus }),
    ...(node === undefined
      ? {}
      : {
          inserted: {
            node,
            readOnly: device.readOnly || node.readOnly,
            writeback: device.writeCache,
            limits: toShortLimits(group?.limits),
            ...(group === undefined ? {} : { group: group.name }),
          },
        }),
  }
}

/** QAPI's BlockStats. `parent` is the storage below, `backing` the image behind. */
export interface BlockStatistics {
  readonly device?: string
  readonly qdev?: string
  readonly nodeName?: string
  readonly stats: DeviceStatistics
  /** What only the driver counts, beside its name. */
  readonly driverSpecific?: Readonly<Record<string, number | string>>
  readonly parent?: BlockStatistics
  readonly backing?: BlockStatistics
}

/** The figures of a device, and what is known of the nodes below. */
export function deviceStatistics(device: Device): BlockStatistics {
  const { id, qdev, node, accounting } = device
  return {
    device: id,
    ...(qdev === undefined ? {} : { qdev }),
    ...(node === undefined ? {} : nodeStatistics(node.shown)),
    stats: accounting.statistics(node?.writtenUpTo ?? 0),
  }
}

/** What is known of a node and of those below: how far it was written. Requests are counted by devices. */
function nodeStatistics(node: Node): BlockStatistics {
  const { storage, image } = node
  const backing = (node.backing ?? node.filtered)?.node.shown
  const own = image.statistics?.()
  return {
    nodeName: node.name,
    stats: emptyStatistics(node.clock, node.writtenUpTo),
    ...(own === undefined ? {} : { driverSpecific: { driver: node.driver.name, ...own } }),
    ...(storage === undefined ? {} : { parent: nodeStatistics(storage.node) }),
    ...(backing === undefined ? {} : { backing: nodeStatistics(backing) }),
  }
}

/** The figures of a node and of what is below it, and what those who use it now have done with it: exports, jobs, handles. */
export function usedNodeStatistics(node: Node): BlockStatistics {
  const users = [...node.parents].flatMap(({ parent }) => (parent instanceof Root ? [parent.statistics] : []))
  const totals = (kind: RequestKind): RequestTotals => sumOf(users.map((statistics) => statistics[kind].totals()))
  const [read, write, flush, discard] = [totals('read'), totals('write'), totals('flush'), totals('discard')]
  const figures = nodeStatistics(node)
  return {
    ...figures,
    stats: {
      ...figures.stats,
      rdBytes: read.bytes,
      wrBytes: write.bytes,
      unmapBytes: discard.bytes,
      rdOperations: read.operations,
      wrOperations: write.operations,
      flushOperations: flush.operations,
      unmapOperations: discard.operations,
      rdTotalTimeNs: read.totalTimeNs,
      wrTotalTimeNs: write.totalTimeNs,
      flushTotalTimeNs: flush.totalTimeNs,
      unmapTotalTimeNs: discard.totalTimeNs,
      failedRdOperations: read.failed,
      failedWrOperations: write.failed,
      failedFlushOperations: flush.failed,
      failedUnmapOperations: discard.failed,
    },
  }
}

function sumOf(all: readonly RequestTotals[]): RequestTotals {
  const sum = (figure: keyof RequestTotals): number => all.reduce((total, one) => total + one[figure], 0)
  return { bytes: sum('bytes'), operations: sum('operations'), failed: sum('failed'), totalTimeNs: sum('totalTimeNs') }
}

function emptyStatistics(clock: Clock, writtenUpTo: number): DeviceStatistics {
  return new Accounting(clock, { accountFailed: false, accountInvalid: false }).statistics(writtenUpTo)
}
