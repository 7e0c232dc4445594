/** `info qtree`: the devices of the machine by the buses that they sit on, the latest of each bus first. */
import { propertyText } from '../device-options.ts'
import type { ModelInfo } from '../models.ts'

/** A device with the buses that it has. */
interface TreeDevice {
  readonly driver: string
  readonly id?: string | undefined
  readonly properties?: readonly string[]
  readonly buses?: readonly TreeBus[]
}

interface TreeBus {
  readonly name: string
  readonly type: string
  readonly devices: readonly TreeDevice[]
}

/** The tree with `models` in their places; of the machine's own devices those that have buses. */
export function deviceTree(models: readonly ModelInfo[]): string {
  const latest = [...models].reverse()
  const where = (belongs: (model: ModelInfo) => boolean): TreeDevice[] => latest.filter(belongs).map(shown)
  const shown = ({ driver, id, properties, provides: name }: ModelInfo): TreeDevice => {
    const buses = name === undefined ? [] : [{ name, type: 'SCSI', devices: where(({ above }) => above === name) }]
    return { driver, id, properties: properties.map(propertyText), buses }
  }
  const isFloppy = ({ driver }: ModelInfo): boolean => driver === 'floppy'
  const isIde = ({ driver }: ModelInfo): boolean => driver.startsWith('ide-')
  const isa = [
    { ...floppyController, buses: [{ name: 'floppy-bus.0', type: 'floppy-bus', devices: where(isFloppy) }] },
    { driver: 'isa-pcspk' },
  ]
  const pci = [
    ...where((model) => model.above === undefined && !isFloppy(model) && !isIde(model)),
    { driver: 'piix3-ide', buses: [{ name: 'ide.0', type: 'IDE', devices: where(isIde) }] },
    { driver: 'PIIX3', buses: [{ name: 'isa.0', type: 'ISA', devices: isa }] },
  ]
  const bridge = { driver: 'i440FX-pcihost', buses: [{ name: 'pci.0', type: 'PCI', devices: pci }] }
  const lines = busLines({ name: 'main-system-bus', type: 'System', devices: [bridge] }, '')
  return [...lines].map((line) => `${line}\n`).join('')
}

const floppyController = {
  driver: 'isa-fdc',
  properties: [
    'iobase = 1008 (0x3f0)',
    'irq = 6 (0x6)',
    'dma = 2 (0x2)',
    'fdtypeA = "auto"',
    'fdtypeB = "auto"',
    'fallback = "288"',
  ],
}

function* busLines({ name, type, devices }: TreeBus, indent: string): Generator<string> {
  yield `${indent}bus: ${name}`
  yield `${indent}  type ${type}`
  for (const { driver, id = '', properties = [], buses = [] } of devices) {
    yield `${indent}  dev: ${driver}, id "${id}"`
    for (const line of properties) yield `${indent}    ${line}`
    for (const bus of buses) yield* busLines(bus, `${indent}    `)
  }
}
