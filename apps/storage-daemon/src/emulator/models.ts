/**
 * The devices of a machine that is not there: disks that hold their place on a node, so that permissions, `query-block`
 * and `DEVICE_DELETED` are those of a guest that does nothing.
 */
import { BlockError, type Graph, type Node } from '@diskgraph/core'
import type { Device, DeviceModel, DeviceTable, ErrorPolicies } from '@diskgraph/devices'
import { QmpError } from '@diskgraph/qmp'
import type { Drive, Drives } from '../drives/drives.ts'

/** A kind of device. */
interface Kind {
  /** The bus that it needs, where the machine has none of its own. */
  readonly bus?: 'SCSI'
  /** The bus that it is the controller of. */
  readonly provides?: 'SCSI'
  /** What a disk of this kind is to its drive; left out for controllers. */
  readonly disk?: Omit<DeviceModel, 'name'>
  /** Its part that holds the drive has a path of its own. */
  readonly part?: 'virtio-backend'
  /** The guest has to let go of it first. */
  readonly asksGuest?: boolean
  /** Its disks can be served by a thread of their own. */
  readonly threads?: boolean
  /** It takes no medium that cannot be written. */
  readonly mustWrite?: boolean
}

const scsi = { bus: 'SCSI' } as const
const host = { provides: 'SCSI', asksGuest: true } as const
const virtio = { part: 'virtio-backend', disk: {}, asksGuest: true } as const
const optical = { removable: true, tray: true } as const

const kinds: Readonly<Record<string, Kind>> = {
  'virtio-blk': virtio,
  'virtio-blk-pci': virtio,
  'virtio-blk-ccw': virtio,
  'virtio-blk-device': { disk: {} },
  'scsi-hd': { ...scsi, disk: {} },
  'scsi-cd': { ...scsi, disk: optical },
  'ide-hd': { disk: { resizable: false }, mustWrite: true },
  'ide-cd': { disk: optical },
  floppy: { disk: { removable: true, tray: true, ioStatus: false } },
  'usb-storage': { disk: {} },
  nvme: { disk: { ioStatus: false } },
  'virtio-scsi': { ...host, threads: true },
  'virtio-scsi-pci': { ...host, threads: true },
  'virtio-scsi-ccw': { ...host, threads: true },
  'virtio-scsi-device': { provides: 'SCSI', threads: true },
  lsi53c895a: host,
  lsi53c810: host,
  am53c974: host,
  megasas: host,
  'pci-bridge': { asksGuest: true },
  'pcie-root-port': {},
  'isa-fdc': {},
  ahci: {},
  'piix3-usb-uhci': {},
  'usb-ehci': {},
  'qemu-xhci': {},
}

/** The names of all kinds, for `-device help`. */
export const modelNames: readonly string[] = Object.keys(kinds)

/** A bus that a controller has. */
interface Bus {
  readonly type: 'SCSI'
  readonly threads: boolean
  /** The thread that serves its disks. */
  readonly thread: string | undefined
}

/** A device that has been made. */
interface Model {
  readonly driver: string
  readonly id: string | undefined
  readonly path: string
  readonly kind: Kind
  readonly device: Device | undefined
  /** Its removal waits for the guest. */
  leaving: boolean
}

type Options = Readonly<Record<string, unknown>>

/** See the top of the file. */
export class Models {
  readonly #graph: Graph
  readonly #devices: DeviceTable
  readonly #drives: Drives
  readonly #models: Model[] = []
  readonly #buses = new Map<string, Bus>()
  /** The thread that serves a node, of those that a device has moved to one. */
  readonly #threads = new WeakMap<Node, string>()
  #anonymous = 0
  #builtIn = 0
  #flashes = 0

  constructor(graph: Graph, devices: DeviceTable, drives: Drives) {
    this.#graph = graph
    this.#devices = devices
    this.#drives = drives
  }

  /** Makes the device that `options` (QAPI's spelling) describe. Nothing is left if that fails. */
  async add(options: Options): Promise<void> {
    const { driver, id, bus, iothread: thread } = options as Readonly<Record<string, string | undefined>>
    if (driver === undefined) throw new BlockError('EINVAL', "Parameter 'driver' is missing")
    const kind = Object.hasOwn(kinds, driver) ? (kinds[driver] as Kind) : undefined
    if (kind === undefined) throw new BlockError('EINVAL', `'${driver}' is not a valid device model name`)
    if (id !== undefined && this.#models.some((model) => model.id === id)) {
      throw new BlockError('EEXIST', `Duplicate device ID '${id}'`)
    }
    const above = this.#busFor(driver, kind, bus)
    this.#checkThread(options, above)
    const path = id === undefined ? `/machine/peripheral-anon/device[${this.#anonymous}]` : `/machine/peripheral/${id}`
    const device = await this.#disk(driver, kind, options, id, path)
    if (id === undefined) this.#anonymous++
    if (kind.provides !== undefined) {
      this.#buses.set(`${id ?? driver}.0`, { type: kind.provides, threads: kind.threads === true, thread })
    } else if (device?.node !== undefined && above?.thread !== undefined) this.#threads.set(device.node, above.thread)
    this.#models.push({ driver, id, path, kind, device, leaving: false })
  }

  /** What there is, in the order in which it was made. */
  list(): { readonly driver: string; readonly id: string | undefined; readonly drive: string | undefined }[] {
    return this.#models.map(({ driver, id, device }) => ({ driver, id, drive: device?.id || device?.node?.name }))
  }

  /** Puts the model that belongs to its interface over a drive. */
  async addForDrive({ device, request }: Drive): Promise<void> {
    const { interface: place, media } = request
    if (place === 'none' || place === 'mtd') return
    if (place === 'virtio') return this.add({ driver: 'virtio-blk-pci', drive: device.id })
    const driver = builtInDriver(place, media)
    const kind = kinds[driver] as Kind
    const path =
      place === 'pflash' ? `/machine/system.flash${this.#flashes++}` : `/machine/unattached/device[${this.#builtIn++}]`
    await this.#disk(driver, kind, { drive: device.id }, undefined, path)
    this.#models.push({ driver, id: undefined, path, kind, device, leaving: false })
  }

  /** `device_del`: takes a device away, at once or when the guest lets go of it. DeviceNotFound if there is none. */
  async remove(id: string): Promise<void> {
    const model = this.#models.find((one) => one.id === id || (one.path === id && one.id === undefined))
    if (model === undefined) throw new QmpError('DeviceNotFound', `Device '${id}' not found`, 'ENODEV')
    if (model.kind.asksGuest && this.#devices.runState.status !== 'prelaunch') {
      if (model.leaving) throw new BlockError('EBUSY', `Device ${id} is already in the process of unplug`)
      model.leaving = true
      return
    }
    await this.#takeAway(model)
  }

  /** `system_reset`: guests let go of what is to leave. */
  async reset(): Promise<void> {
    for (const model of this.#models.filter(({ leaving }) => leaving)) await this.#takeAway(model)
  }

  async #takeAway(model: Model): Promise<void> {
    this.#models.splice(this.#models.indexOf(model), 1)
    const { device, id, path, kind } = model
    if (device !== undefined) {
      const ends = device.id === '' || this.#drives.has(device)
      this.#drives.forget(device)
      await (ends ? device.close() : device.detach())
    }
    if (kind.part !== undefined) this.#graph.emit({ event: 'DEVICE_DELETED', data: { path: `${path}/${kind.part}` } })
    this.#graph.emit({ event: 'DEVICE_DELETED', data: { ...(id === undefined ? {} : { device: id }), path } })
  }

  /** A disk whose node is served by a thread takes no device that another one would serve. */
  #checkThread({ drive }: Options, bus: Bus | undefined): void {
    const name = String(drive)
    const node = this.#devices.nodeOf(name) ?? this.#graph.find(name)
    const thread = node === undefined ? undefined : this.#threads.get(node)
    if (thread === undefined || thread === bus?.thread) return
    const isHost = bus !== undefined && !bus.threads
    throw new BlockError(
      'EBUSY',
      isHost ? 'HBA does not support iothreads' : 'Cannot change iothread of active block backend',
    )
  }

  #busFor(driver: string, { bus: needed }: Kind, bus: string | undefined): Bus | undefined {
    if (needed === undefined) return undefined
    const found =
      bus === undefined ? [...this.#buses.values()].find(({ type }) => type === needed) : this.#buses.get(bus)
    if (found !== undefined) return found
    if (bus !== undefined) throw new BlockError('ENODEV', `Bus '${bus}' not found`)
    throw new BlockError('ENODEV', `No '${needed}' bus found for device '${driver}'`)
  }

  /** The device of a disk; undefined for a controller. */
  async #disk(
    driver: string,
    kind: Kind,
    options: Options,
    id: string | undefined,
    path: string,
  ): Promise<Device | undefined> {
    if (kind.disk === undefined) return undefined
    const model: DeviceModel = { ...kind.disk, name: driver, shareRw: isOn(options['share-rw']) }
    const part = kind.part === undefined ? '' : `/${kind.part}`
    const qdev = part === '' ? (id ?? path) : `${path}${part}`
    const device = await this.#attached(driver, model, qdev, options.drive)
    try {
      if (!model.removable && device.medium === undefined) {
        throw new BlockError('ENOMEDIUM', 'Device needs media, but drive is empty')
      }
      if (kind.mustWrite && (device.readOnly || device.node?.readOnly)) {
        throw new BlockError('EPERM', 'Block node is read-only')
      }
      device.setPolicies(policiesOf(options))
      if (options['write-cache'] !== undefined && options['write-cache'] !== 'auto') {
        device.writeCache = isOn(options['write-cache'])
      }
    } catch (error) {
      await (device.id === '' ? device.close() : device.detach())
      throw error
    }
    return device
  }

  async #attached(driver: string, model: DeviceModel, qdev: string, drive: unknown): Promise<Device> {
    if (drive === undefined || drive === '') {
      if (!model.removable) throw new BlockError('EINVAL', 'drive property not set')
      return this.#devices.addModel(model, qdev)
    }
    const name = String(drive)
    const device = this.#devices.find(name)
    if (device !== undefined) {
      if (device.model !== undefined) {
        throw new BlockError('EBUSY', `Property '${driver}.drive' can't take value '${name}', it's in use`)
      }
      await device.attach(model, qdev)
      return device
    }
    const node = this.#graph.find(name)
    if (node === undefined) throw new BlockError('ENODEV', `Property '${driver}.drive' can't find value '${name}'`)
    return this.#devices.addModel(model, qdev, node)
  }
}

function builtInDriver(place: string, media: 'disk' | 'cdrom'): string {
  if (place === 'floppy') return 'floppy'
  if (place === 'ide') return media === 'cdrom' ? 'ide-cd' : 'ide-hd'
  if (place === 'scsi') return media === 'cdrom' ? 'scsi-cd' : 'scsi-hd'
  return 'virtio-blk-device'
}

function policiesOf({ rerror, werror }: Options): Partial<ErrorPolicies> {
  return {
    ...(rerror === undefined ? {} : { rerror: rerror as ErrorPolicies['rerror'] }),
    ...(werror === undefined ? {} : { werror: werror as ErrorPolicies['werror'] }),
  }
}

function isOn(value: unknown): boolean {
  return value === true || value === 'on' || value === 'yes' || value === 'true'
}
