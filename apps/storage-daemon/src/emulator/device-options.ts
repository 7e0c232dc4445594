/** Options of devices: those of `-global`, what a disk makes of them, and the properties that it shows. */
import { BlockError } from '@diskgraph/core'
import type { Device, ErrorPolicies } from '@diskgraph/devices'
import { parseKeyValues, toObject } from '@diskgraph/qapi'
import { humanSize, readSize } from '@diskgraph/tools'
import { StartError } from '../failure.ts'

/** Options of a device, in QAPI's spelling. */
export type Options = Readonly<Record<string, unknown>>

/** Options for all devices of a kind, by the kind. */
export type Globals = ReadonlyMap<string, Options>

/** A property of a device, with its type as QOM calls it. */
export interface Property {
  readonly name: string
  readonly type: 'str' | 'size' | 'bool' | 'uint32' | 'OnOffAuto' | 'BlockdevOnError' | 'FdcDriveType'
  readonly value: string | number | boolean
}

/** The values of `-global`: `driver.property=value`, or the three by their names. */
export function parseGlobals(values: readonly string[]): Globals {
  const globals = new Map<string, Options>()
  for (const text of values) {
    const [, short, name, rest] = /^([^.=,]+)\.([^=,]+)=(.*)$/s.exec(text) ?? []
    const given = short === undefined ? toObject(parseKeyValues(text)) : { driver: short, property: name, value: rest }
    const { driver, property, value, ...others } = given
    const [other] = Object.keys(others)
    if (other !== undefined) throw new StartError(`Invalid parameter '${other}'`)
    for (const [key, part] of Object.entries({ driver, property, value })) {
      if (part === undefined) throw new StartError(`Parameter '${key}' is missing`)
    }
    globals.set(driver as string, { ...globals.get(driver as string), [property as string]: value })
  }
  return globals
}

/** `options` with those for all devices of that kind, which these may not contradict. */
export function withGlobals(driver: string, options: Options, globals: Globals): Options {
  const general = globals.get(driver) ?? {}
  if (general.drive !== undefined && options.drive !== undefined) {
    throw new BlockError('EINVAL', `-global ${driver}.drive=... conflicts with drive=${String(options.drive)}`)
  }
  return { ...general, ...options }
}

/** Throws EINVAL for sizes of blocks that no disk, or no floppy, has. */
export function checkBlockSizes(driver: string, options: Options): void {
  const [logical, physical] = [sizeOf(options, 'logical_block_size'), sizeOf(options, 'physical_block_size')]
  if (logical > physical) {
    throw new BlockError('EINVAL', 'logical_block_size > physical_block_size not supported')
  }
  if (driver === 'floppy' && physical !== 512) {
    throw new BlockError('EINVAL', 'Physical and logical block size must be 512 for floppy')
  }
}

/** What errors do, where the options say it. */
export function policiesOf({ rerror, werror }: Options): Partial<ErrorPolicies> {
  return {
    ...(rerror === undefined ? {} : { rerror: rerror as ErrorPolicies['rerror'] }),
    ...(werror === undefined ? {} : { werror: werror as ErrorPolicies['werror'] }),
  }
}

/** Whether a boolean option is on. */
export function isOn(value: unknown): boolean {
  return value === true || value === 'on' || value === 'yes' || value === 'true'
}

/** The properties of a disk now, in the order in which QEMU tells of them. `unit` is for a floppy. */
export function diskProperties(
  driver: string,
  options: Options,
  device: Device,
  unit: number | undefined,
): readonly Property[] {
  const isFloppy = driver === 'floppy'
  const text = (name: string, type: Property['type']): Property => ({
    name,
    type,
    value: String(options[name] ?? 'auto'),
  })
  const size = (name: string): Property => ({ name, type: 'size', value: sizeOf(options, name, 0) })
  const blockSize = (name: string): Property => ({ name, type: 'size', value: sizeOf(options, name) })
  return [
    ...(isFloppy ? [{ name: 'unit', type: 'uint32', value: unit ?? 0 } as const] : []),
    { name: 'drive', type: 'str', value: device.id || (device.node?.name ?? '') },
    text('backend_defaults', 'OnOffAuto'),
    blockSize('logical_block_size'),
    blockSize('physical_block_size'),
    size('min_io_size'),
    size('opt_io_size'),
    { name: 'discard_granularity', type: 'size', value: sizeOf(options, 'discard_granularity', granularity(driver)) },
    text('write-cache', 'OnOffAuto'),
    { name: 'share-rw', type: 'bool', value: isOn(options['share-rw']) },
    text('account-invalid', 'OnOffAuto'),
    text('account-failed', 'OnOffAuto'),
    ...(isFloppy
      ? [{ name: 'drive-type', type: 'FdcDriveType', value: floppyType(options['drive-type'], device) } as const]
      : [text('rerror', 'BlockdevOnError'), text('werror', 'BlockdevOnError')]),
  ]
}

/** A property as `info qtree` shows it. */
export function propertyText({ name, type, value }: Property): string {
  if (type === 'size') return `${name} = ${value} (${humanSize(value as number)})`
  if (type === 'uint32') return `${name} = ${value} (0x${(value as number).toString(16)})`
  return `${name} = ${type === 'bool' ? value : `"${value}"`}`
}

function sizeOf(options: Options, name: string, otherwise = 512): number {
  const given = options[name]
  if (given === undefined) return otherwise
  const size = typeof given === 'number' ? given : readSize(String(given))
  if (typeof size === 'number') return size
  throw new BlockError('EINVAL', `Parameter '${name}' expects a size`)
}

/** What a disk discards at once where it is not told. */
function granularity(driver: string): number {
  if (driver.startsWith('ide-')) return 512
  return driver.startsWith('scsi-') ? 4096 : 2 ** 32 - 1
}

const units = 2

/** The bus of the floppy controller. */
export class FloppyBus {
  readonly #taken = new Set<number>()

  /** Takes the unit that `options` name, or the first that is free. EINVAL beyond the last, EBUSY for one that is used. */
  take(options: Options): number {
    let unit = options.unit === undefined ? 0 : Number(options.unit)
    if (options.unit === undefined) while (this.#taken.has(unit)) unit++
    if (!Number.isSafeInteger(unit) || unit < 0) throw new BlockError('EINVAL', "Parameter 'unit' expects uint32_t")
    if (unit >= units) {
      throw new BlockError('EINVAL', `Can't create floppy unit ${unit}, bus supports only ${units} units`)
    }
    if (this.#taken.has(unit)) throw new BlockError('EBUSY', `Floppy unit ${unit} is in use`)
    this.#taken.add(unit)
    return unit
  }

  release(unit: number): void {
    this.#taken.delete(unit)
  }
}

/** Drives by the sizes of their media in KiB, as QEMU picks them; others are of the last kind. */
const floppySizes: Readonly<Record<string, readonly number[]>> = {
  '120': [160, 180, 320, 360, 410, 1200, 1476],
  '144': [720, 820, 1440, 1680, 1840],
}

/** Throws EINVAL for what is no type of floppy drive. */
export function checkFloppyType(type: unknown): void {
  if (type === undefined || ['120', '144', '288', 'none', 'auto'].includes(String(type))) return
  throw new BlockError('EINVAL', `Parameter 'drive-type' does not accept value '${String(type)}'`)
}

function floppyType(given: unknown, { medium, size }: Device): string {
  if (given !== undefined && given !== 'auto') return String(given)
  const found = Object.entries(floppySizes).find(([, sizes]) => sizes.includes(size / 1024))
  return medium === undefined ? '288' : (found?.[0] ?? '288')
}
