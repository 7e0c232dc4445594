/** Devices: what `query-block` tells, media that come and go, limits. */
import { BlockError, type Node } from '@diskgraph/core'
import { fromQapiName, toSnakeCase } from '@diskgraph/core/internal'
import { type Device, type DeviceTable, deviceInfo, deviceStatistics, usedNodeStatistics } from '@diskgraph/devices'
import type { ArgumentsOf, ReturnOf, TypeOf } from '@diskgraph/qapi'
import { QmpError } from '../errors.ts'
import type { System } from '../system.ts'
import type { Handlers } from './handlers.ts'
import { nodeInfo, settled } from './queries.ts'

/** `query-block`, `query-blockstats`, and all that is done to a device. */
export function deviceCommands(system: System, devices: DeviceTable): Handlers {
  return {
    'query-block': () => settled(system.graph, () => Promise.all([...devices].map((device) => blockInfo(device)))),
    'query-blockstats': (args) =>
      args['query-nodes'] === true
        ? [...system.graph.nodes].map((node) => onWire(usedNodeStatistics(node)) as TypeOf<'BlockStats'>)
        : [...devices].map((device) => onWire(deviceStatistics(device)) as TypeOf<'BlockStats'>),
    eject: (args) => found(devices, args).eject(args.force, nameIn(args)),
    'blockdev-open-tray': (args) => {
      const device = found(devices, args)
      if (device.openTray(args.force, nameIn(args))) return
      throw new BlockError(
        'EBUSY',
        `Device '${nameIn(args)}' is locked and force was not specified, wait for tray to open and try again`,
      )
    },
    'blockdev-close-tray': (args) => found(devices, args).closeTray(nameIn(args)),
    'blockdev-remove-medium': ({ id }) => found(devices, { id }).removeMedium(id),
    'blockdev-insert-medium': ({ id, 'node-name': node }) => found(devices, { id }).insertMedium(node),
    'blockdev-change-medium': (args) => changeMedium(system, found(devices, args), args),
    change: ({ device, target, arg }) =>
      changeMedium(system, found(devices, { device }), { device, filename: target, format: arg }),
    block_set_io_throttle: ({ device, id, group, ...limits }) =>
      found(devices, { device, id }).setThrottle(camelKeys(limits), group),
    'block-latency-histogram-set': ({ id, ...boundaries }) => {
      const device = devices.find(id) ?? devices.find(id, true)
      if (device === undefined) throw new QmpError('DeviceNotFound', `Device '${id}' not found`, 'ENODEV')
      device.setHistograms(camelKeys(boundaries))
    },
    block_passwd: ({ device, 'node-name': nodeName }) => {
      const node = system.find(device, nodeName)
      throw new BlockError('EINVAL', `Device '${node.name}' is not encrypted, or was opened with its secret`)
    },
  }
}

/** Adds a device, as the definition of a node by older clients (`id`) asks for one. */
export async function addDevice(
  { graph, devices }: System,
  node: Node,
  { id, rerror, werror, cache }: TypeOf<'BlockdevOptionsBase'>,
): Promise<void> {
  try {
    if (devices === undefined)
      throw new BlockError('ENOTSUP', "Parameter 'id' is unexpected: there are no devices here")
    await devices.add(
      {
        ...(id === undefined ? {} : { id }),
        ...(rerror === undefined ? {} : { rerror }),
        ...(werror === undefined ? {} : { werror }),
        ...(cache?.writeback === undefined ? {} : { writeCache: cache.writeback }),
      },
      node,
    )
  } catch (error) {
    await graph.remove(node)
    throw error
  }
  // It goes with its device.
  node.explicit = false
}

interface Named {
  readonly device?: string | undefined
  readonly id?: string | undefined
}

function nameIn({ device, id }: Named): string {
  return device ?? id ?? ''
}

function found(devices: DeviceTable, { device, id }: Named): Device {
  if ((device === undefined) === (id === undefined)) {
    throw new BlockError('EINVAL', "Need exactly one of 'device' and 'id'")
  }
  const one = id === undefined ? devices.find(device as string) : devices.find(id, true)
  if (one === undefined) throw new QmpError('DeviceNotFound', `Device '${nameIn({ device, id })}' not found`, 'ENODEV')
  return one
}

async function changeMedium(
  { graph }: System,
  device: Device,
  args: Omit<ArgumentsOf<'blockdev-change-medium'>, 'id'>,
): Promise<void> {
  const { filename, format, force, 'read-only-mode': mode = 'retain' } = args
  const readOnly = mode === 'retain' ? device.mediaReadOnly : mode === 'read-only'
  if (format !== undefined && !graph.registry.names.includes(format)) {
    throw new BlockError('EINVAL', `Unknown driver '${format}'`)
  }
  const file = { filename }
  const node = await graph.addNode(format === undefined ? { file, readOnly } : { driver: format, file, readOnly })
  try {
    await device.changeMedium(() => Promise.resolve(node), force, nameIn(args))
  } catch (error) {
    await graph.remove(node)
    throw error
  }
  node.explicit = false
}

async function blockInfo(device: Device): Promise<ReturnOf<'query-block'>[number]> {
  const info = deviceInfo(device)
  const { inserted, trayOpen, ioStatus } = info
  return {
    ...(ioStatus === undefined ? {} : { 'io-status': ioStatus }),
    device: info.device,
    locked: info.locked,
    removable: info.removable,
    ...(inserted === undefined
      ? {}
      : {
          inserted: {
            ...(await nodeInfo(inserted.node, false)),
            ro: inserted.readOnly,
            ...(snakeKeys(inserted.limits) as object),
            ...(inserted.group === undefined ? {} : { group: inserted.group }),
            cache: { ...(await nodeInfo(inserted.node, true)).cache, writeback: inserted.writeback },
          },
        }),
    ...(info.qdev === undefined ? {} : { qdev: info.qdev }),
    ...(trayOpen === undefined ? {} : { tray_open: trayOpen }),
    type: info.type,
  }
}

/** Names of statistics have underscores, but for these. */
const kebab = new Set(['nodeName', 'driverSpecific', 'discardNbOk', 'discardNbFailed', 'discardBytesOk'])

function onWire(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(onWire)
  if (typeof value !== 'object' || value === null) return value
  const members = Object.entries(value).map(([name, member]) => {
    const wire = toSnakeCase(name)
    return [kebab.has(name) ? wire.replaceAll('_', '-') : wire, onWire(member)]
  })
  return Object.fromEntries(members)
}

function snakeKeys(value: object): unknown {
  return onWire(value)
}

/** `bps_rd_max` and `boundaries-read` as `bpsRdMax` and `boundariesRead`; what is undefined is left out. */
function camelKeys<T>(value: Readonly<Record<string, T | undefined>>): Record<string, T> {
  const result: Record<string, T> = {}
  for (const [name, member] of Object.entries(value)) {
    if (member !== undefined) result[fromQapiName(name.replaceAll('_', '-'))] = member
  }
  return result
}
