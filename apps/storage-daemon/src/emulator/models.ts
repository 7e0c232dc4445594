/**
 * The devices of a machine that is not there: disks that hold their place on a node, so that permissions, `query-block`
 * and `DEVICE_DELETED` are those of a guest that does nothing.
 */
import { BlockError, errorCodeOf, type Graph, type Node } from '@diskgraph/core'
import type { Device, DeviceModel, DeviceTable } from '@diskgraph/devices'
import { QmpError } from '@diskgraph/qmp'
import { messageOf } from '@diskgraph/tools'
import type { Drive, Drives } from '../drives/drives.ts'
import {
  checkBlockSizes,
  checkFloppyType,
  diskProperties,
  FloppyBus,
  type Globals,
  isOn,
  type Options,
  type Property,
  policiesOf,
  withGlobals,
} from './device-options.ts'
import { type Kind, kinds } from './model-kinds.ts'
import { checkProperties } from './model-properties.ts'

/** A bus that a controller has. */
interface Bus {
  readonly name: string
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
  readonly options: Options
  /** The bus that it sits on, where that is one of a controller. */
  readonly above: string | undefined
  /** Its place on the bus, of a floppy. */
  readonly unit: number | undefined
  /** Its removal waits for the guest. */
  leaving: boolean
}

/** See the top of the file. */
export class Models {
  readonly #graph: Graph
  readonly #devices: DeviceTable
  readonly #drives: Drives
  readonly #models: Model[] = []
  readonly #buses = new Map<string, Bus>()
  readonly #floppies = new FloppyBus()
  readonly #globals: Globals
  /** The thread that serves a node, of those that a device has moved to one. */
  readonly #threads = new WeakMap<Node, string>()
  readonly #onGoing: (node: Node) => void
  #anonymous = 0
  #builtIn = 0
  #flashes = 0

  /** `globals` are options for all devices of a kind; `onGoing` hears of a node whose drive goes with its device. */
  constructor(
    graph: Graph,
    devices: DeviceTable,
    drives: Drives,
    globals: Globals = new Map(),
    onGoing: (node: Node) => void = () => undefined,
  ) {
    this.#onGoing = onGoing
    this.#graph = graph
    this.#devices = devices
    this.#drives = drives
    this.#globals = globals
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
    checkProperties(driver, Object.keys(options))
    this.#checkThread(options, above)
    const path = id === undefined ? `/machine/peripheral-anon/device[${this.#anonymous}]` : `/machine/peripheral/${id}`
    const { device, unit } = await this.#disk(driver, kind, options, id, path)
    if (id === undefined) this.#anonymous++
    const name = `${id ?? driver}.0`
    if (kind.provides !== undefined) {
      this.#buses.set(name, { name, type: kind.provides, threads: kind.threads === true, thread })
    } else if (device?.node !== undefined && above?.thread !== undefined) this.#threads.set(device.node, above.thread)
    this.#models.push({ driver, id, path, kind, device, options, unit, above: above?.name, leaving: false })
  }

  /** What there is, in the order in which it was made. */
  list(): ModelInfo[] {
    return this.#models.map((model) => ({
      driver: model.driver,
      id: model.id,
      above: model.above,
      provides: model.kind.provides === undefined ? undefined : `${model.id ?? model.driver}.0`,
      properties: propertiesOf(model),
    }))
  }

  /** Whether there is a device at `path`, by all of it or by its end. */
  has(path: string): boolean {
    return this.#find(path) !== undefined
  }

  /** `qom-list`: the properties of the device at `path`. */
  properties(path: string): { readonly name: string; readonly type: string }[] {
    return [{ name: 'type', type: 'string' }, ...propertiesOf(this.#require(path))]
  }

  /** `qom-get`. EINVAL for a property that is none. */
  get(path: string, name: string): unknown {
    const model = this.#require(path)
    return name === 'type' ? model.driver : propertyOf(model, name).value
  }

  /** `qom-set`: another node may be shown. EPERM as for a new device, EINVAL for what stays as it is. */
  async set(path: string, name: string, value: unknown): Promise<void> {
    const model = this.#require(path)
    const { driver, device } = model
    propertyOf(model, name)
    if (name !== 'drive' || device === undefined) {
      const what = `property '${name}' on device '${model.id ?? model.path}' (type '${driver}')`
      throw new BlockError('EINVAL', `Attempt to set ${what} after it was realized`)
    }
    if (typeof value !== 'string') {
      throw new BlockError('EINVAL', "Invalid parameter type for 'drive', expected: string")
    }
    const node = this.#graph.find(value)
    if (node === undefined) throw new BlockError('ENODEV', `Cannot find device='' nor node-name='${value}'`)
    await device.show(node)
  }

  /** Puts the model that belongs to its interface over a drive. */
  async addForDrive({ device, request, unit }: Drive): Promise<void> {
    const { interface: place, media } = request
    if (place === 'none' || place === 'sd') return
    if (place === 'virtio') return this.add({ driver: 'virtio-blk-pci', drive: device.id })
    const driver = builtInDriver(place, media)
    const kind = kinds[driver] as Kind
    const path =
      place === 'pflash' ? `/machine/system.flash${this.#flashes++}` : `/machine/unattached/device[${this.#builtIn++}]`
    const options = { drive: device.id, ...(driver === 'floppy' ? { unit } : {}) }
    const made = await this.#disk(driver, kind, options, undefined, path)
    this.#models.push({ driver, id: undefined, path, kind, ...made, options, above: undefined, leaving: false })
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

  #find(path: string): Model | undefined {
    const parts = path.split('/').filter((part) => part !== '')
    const isWhole = path.startsWith('/')
    return this.#models.find(({ id, path: own }) =>
      isWhole
        ? `/${parts.join('/')}` === own
        : own.endsWith(`/${parts.join('/')}`) && (id !== undefined || parts.length > 1),
    )
  }

  #require(path: string): Model {
    const model = this.#find(path)
    if (model === undefined) throw new QmpError('DeviceNotFound', `Device '${path}' not found`, 'ENODEV')
    return model
  }

  async #takeAway(model: Model): Promise<void> {
    this.#models.splice(this.#models.indexOf(model), 1)
    const { device, id, path, kind, unit } = model
    if (unit !== undefined) this.#floppies.release(unit)
    if (device !== undefined) {
      const isDrive = this.#drives.has(device)
      this.#drives.forget(device)
      if (isDrive && device.node !== undefined) this.#onGoing(device.node)
      await (isDrive || device.id === '' ? device.close() : device.detach())
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

  /** The device of a disk, and its unit where it is a floppy; neither for a controller. */
  async #disk(
    driver: string,
    kind: Kind,
    given: Options,
    id: string | undefined,
    path: string,
  ): Promise<Pick<Model, 'device' | 'unit'>> {
    if (kind.disk === undefined) return { device: undefined, unit: undefined }
    const options = withGlobals(driver, given, this.#globals)
    const model: DeviceModel = { ...kind.disk, name: driver, shareRw: isOn(options['share-rw']) }
    const part = kind.part === undefined ? '' : `/${kind.part}`
    const qdev = part === '' ? (id ?? path) : `${path}${part}`
    if (driver === 'floppy') checkFloppyType(options['drive-type'])
    const device = await this.#attached(driver, model, qdev, options.drive).catch((error) => {
      if (given.drive !== undefined || options.drive === undefined) throw error
      throw new BlockError(
        errorCodeOf(error),
        `can't apply global ${driver}.drive=${String(options.drive)}: ${messageOf(error)}`,
        { cause: error },
      )
    })
    try {
      if (!model.removable && device.medium === undefined) {
        throw new BlockError('ENOMEDIUM', 'Device needs media, but drive is empty')
      }
      if (kind.mustWrite && (device.readOnly || device.node?.readOnly)) {
        throw new BlockError('EPERM', 'Block node is read-only')
      }
      checkBlockSizes(driver, options)
      device.setPolicies(policiesOf(options))
      if (options['write-cache'] !== undefined && options['write-cache'] !== 'auto') {
        device.writeCache = isOn(options['write-cache'])
      }
      return { device, unit: driver === 'floppy' ? this.#floppies.take(options) : undefined }
    } catch (error) {
      await (device.id === '' ? device.close() : device.detach())
      throw error
    }
  }

  async #attached(driver: string, model: DeviceModel, qdev: string, drive: unknown): Promise<Device> {
    if (drive === undefined || drive === '') {
      if (!model.removable) throw new BlockError('EINVAL', 'drive property not set')
      return this.#devices.addModel(model, qdev)
    }
    const name = String(drive)
    const device = this.#devices.find(name)
    if (device !== undefined) {
      if (device.model !== undefined) throw new BlockError('EBUSY', `Drive '${name}' is ${this.#useOf(device)}`)
      await device.attach(model, qdev)
      return device
    }
    const node = this.#graph.find(name)
    if (node === undefined) throw new BlockError('ENODEV', `Property '${driver}.drive' can't find value '${name}'`)
    return this.#devices.addModel(model, qdev, node)
  }

  #useOf(device: Device): string {
    if (!this.#drives.isPlaced(device)) return 'already in use by another device'
    return (
      'already in use because it has been automatically connected to another device ' +
      "(did you need 'if=none' in the drive options?)"
    )
  }
}

/** What is told of a device. */
export interface ModelInfo {
  readonly driver: string
  readonly id: string | undefined
  /** The bus of a controller that it sits on. */
  readonly above: string | undefined
  /** The bus of SCSI disks that it has. */
  readonly provides: string | undefined
  /** Those of a disk. */
  readonly properties: readonly Property[]
}

function propertiesOf({ driver, options, device, unit }: Model): readonly Property[] {
  return device === undefined ? [] : diskProperties(driver, options, device, unit)
}

function propertyOf(model: Model, name: string): Property {
  const found = propertiesOf(model).find((property) => property.name === name)
  if (found === undefined) throw new BlockError('EINVAL', `Property '${model.driver}.${name}' not found`)
  return found
}

function builtInDriver(place: string, media: 'disk' | 'cdrom'): string {
  if (place === 'floppy') return 'floppy'
  if (place === 'ide') return media === 'cdrom' ? 'ide-cd' : 'ide-hd'
  if (place === 'scsi') return media === 'cdrom' ? 'scsi-cd' : 'scsi-hd'
  return 'virtio-blk-device'
}
