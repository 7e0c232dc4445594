/** The drives of the command line and of `drive_add`: devices with a name, which a model may be put over. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  BlockError,
  type Disk,
  describeErrorCode,
  errorCodeOf,
  type Graph,
  isBlockError,
  Permission,
} from '@diskgraph/core'
import { warningOfGuess } from '@diskgraph/core/internal'
import type { Device, DeviceTable } from '@diskgraph/devices'
import type { DriveRequest, Interface } from './drive-options.ts'

/** A drive that has been made. */
export interface Drive {
  readonly device: Device
  readonly request: DriveRequest
  /** Which of its interface it is, from 0 on. */
  readonly unit: number
}

/** The places for drives that a machine has. */
interface Places {
  readonly ide: { readonly buses: number; readonly units: number }
}

/** See the top of the file. */
export class Drives {
  readonly #graph: Graph
  readonly #devices: DeviceTable
  readonly #drives = new Map<string, Drive>()
  readonly #taken = new Set<string>()
  readonly #places: Places

  /** `places` default: those of QEMU's machine `pc`. */
  constructor(graph: Graph, devices: DeviceTable, places: Places = { ide: { buses: 2, units: 2 } }) {
    this.#graph = graph
    this.#devices = devices
    this.#places = places
  }

  /** Whether `device` is a drive, which goes when its model does. */
  has(device: Device): boolean {
    return this.#drives.get(device.id)?.device === device
  }

  /** Whether there is a drive at the place that `request` names. */
  isFull({ interface: place, index = 0 }: DriveRequest): boolean {
    return this.#taken.has(`${place}${index}`)
  }

  /** Whether `device` is a drive that the machine puts a model over by itself. */
  isPlaced(device: Device): boolean {
    return this.has(device) && this.#drives.get(device.id)?.request.interface !== 'none'
  }

  forget(device: Device): void {
    if (this.has(device)) this.#drives.delete(device.id)
  }

  /** Opens what `request` says and makes a device of it. Nothing is left if that fails. */
  async add(request: DriveRequest): Promise<Drive> {
    const unit = this.#unitFor(request)
    const id = request.id ?? this.#nameOf(request, unit)
    if (this.#drives.has(id) || this.#devices.find(id) !== undefined) {
      throw new BlockError('EINVAL', `Duplicate ID '${id}' for drive`)
    }
    if (this.#graph.find(id) !== undefined) {
      throw new BlockError('EINVAL', `Device name '${id}' conflicts with an existing node name`)
    }
    const disk = request.node === undefined ? undefined : await this.#open(request)
    try {
      const device = await this.#devices.add({ ...request.device, id, idle: true }, disk?.node)
      device.setLimits(request.limits, request.group)
      const drive = { device, request, unit }
      this.#drives.set(id, drive)
      this.#taken.add(`${request.interface}${unit}`)
      return drive
    } finally {
      await disk?.close()
    }
  }

  async #open(request: DriveRequest): Promise<Disk> {
    const { filename, snapshot, copyOnRead } = request
    const { driver, ...options } = request.node as { readonly driver?: string } & Readonly<Record<string, unknown>>
    const readOnly = snapshot ? true : options.readOnly
    // A drive does nothing with its node before a device stands over it.
    const settings = { permissions: Permission.ConsistentRead }
    let disk: Disk
    if (filename !== undefined) {
      const format = driver === undefined ? {} : { format: driver }
      disk = await this.#graph.open(filename, { ...options, readOnly, ...format }, settings).catch(unwrapped)
      if (disk.node.probeGuard !== undefined && !disk.readOnly) this.#graph.warn(warningOfGuess(filename))
    } else {
      if (driver === undefined && options.file === undefined) {
        throw new BlockError('EINVAL', 'Must specify either driver or file')
      }
      disk = await this.#graph
        .addUnchecked(
          { ...options, ...fileOf(options), readOnly, ...(driver === undefined ? {} : { driver }) },
          settings,
        )
        .catch(unwrapped)
    }
    if (snapshot) disk = await overlayOn(this.#graph, disk, options.readOnly === true)
    return copyOnRead && !disk.readOnly ? copying(this.#graph, disk) : disk
  }

  /** The unit that was asked for, or the first that is free. EEXIST for one that is not, EINVAL for one that is none. */
  #unitFor({ interface: place, index, node }: DriveRequest): number {
    let unit = index ?? 0
    const isTaken = (): boolean => this.#taken.has(`${place}${unit}`)
    if (index === undefined) while (isTaken()) unit++
    const [bus, own] = this.#busOf(place, unit)
    const where = `bus=${bus}, unit=${own}`
    if (isTaken()) throw new BlockError('EEXIST', `drive with ${where} (index=${unit}) exists`)
    const none = place === 'mtd' || (place === 'sd' && node !== undefined)
    if (none || (place === 'floppy' && unit > 1) || (place === 'ide' && bus >= this.#places.ide.buses)) {
      throw new BlockError('EINVAL', `machine type does not support if=${place},bus=${bus},unit=${own}`)
    }
    return unit
  }

  #busOf(place: Interface, unit: number): readonly [bus: number, unit: number] {
    const units = place === 'ide' ? this.#places.ide.units : place === 'scsi' ? 7 : Number.POSITIVE_INFINITY
    return units === Number.POSITIVE_INFINITY ? [0, unit] : [Math.floor(unit / units), unit % units]
  }

  /** The name of a drive without one: by its place. */
  #nameOf({ interface: place, media }: DriveRequest, unit: number): string {
    const kind = media === 'cdrom' ? '-cd' : '-hd'
    const [bus, own] = this.#busOf(place, unit)
    if (place === 'ide' || place === 'scsi') return `${place}${bus}${kind}${own}`
    return media === 'cdrom' && place !== 'none' ? `${place}${kind}${unit}` : `${place}${unit}`
  }
}

/** The reason alone: the option that asked for it is named by whoever reports it. */
function unwrapped(error: unknown): never {
  const inner = isBlockError(error) && isBlockError(error.cause) ? error.cause : error
  // What the system says of a file needs its name.
  throw isBlockError(error) && error.message.endsWith(`: ${(inner as Error).message}`) && isSystem(inner)
    ? error
    : inner
}

function isSystem(error: unknown): boolean {
  return error instanceof Error && error.message === describeErrorCode(errorCodeOf(error))
}

/** `file.filename` names a file, whatever it looks like, unless a driver is named beside it. */
function fileOf({ file }: Readonly<Record<string, unknown>>): { readonly file?: object } {
  const isName = typeof file === 'object' && file !== null && 'filename' in file && !('driver' in file)
  return isName ? { file: { driver: 'file', ...file } } : {}
}

/** An empty qcow2 overlay on `base` whose file has no name any more. */
async function overlayOn(graph: Graph, base: Disk, readOnly: boolean): Promise<Disk> {
  const folder = temporaryFolder()
  const filename = join(folder, folder.slice(-'vl.XXXXXX'.length))
  try {
    const file = { driver: 'file', filename }
    await graph.createUnchecked({ driver: 'qcow2', file, size: base.size })
    return await graph.addUnchecked({
      driver: 'qcow2',
      file,
      backing: base.nodeName,
      readOnly,
      discard: 'unmap',
      // It is lost with the program.
      cache: { direct: false, noFlush: true },
    })
  } finally {
    rmSync(folder, { recursive: true })
    await base.close()
  }
}

/** A folder of our own, called as QEMU calls its temporary files. */
function temporaryFolder(): string {
  const prefix = join(process.env.TMPDIR ?? tmpdir(), 'vl.')
  try {
    return mkdtempSync(prefix)
  } catch (cause) {
    const code = errorCodeOf(cause)
    const reason = describeErrorCode(code)
    throw new BlockError(code, `Could not open temporary file '${prefix}XXXXXX': ${reason}`, { cause })
  }
}

/** What is read from backing files is kept in the image. */
async function copying(graph: Graph, base: Disk): Promise<Disk> {
  try {
    return await graph.addUnchecked({ driver: 'copy-on-read', file: base.nodeName, readOnly: false })
  } finally {
    await base.close()
  }
}
