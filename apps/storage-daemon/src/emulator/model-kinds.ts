/** The kinds of devices that there are, and what each is to its drive. */
import type { DeviceModel } from '@diskgraph/devices'

/** A kind of device. */
export interface Kind {
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

export const kinds: Readonly<Record<string, Kind>> = {
  'virtio-blk': virtio,
  'virtio-blk-pci': virtio,
  'virtio-blk-ccw': virtio,
  'virtio-blk-device': { disk: {} },
  'scsi-hd': { ...scsi, disk: {} },
  'scsi-cd': { ...scsi, disk: optical },
  'ide-hd': { disk: { resizable: false }, mustWrite: true },
  'ide-cd': { disk: optical },
  // It has no tray: a medium is taken out of it by hand.
  floppy: { disk: { removable: true, ioStatus: false } },
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
  // They have no disks; the lines of management tools have them.
  'virtio-net-pci': { asksGuest: true },
  'virtio-balloon-pci': { asksGuest: true },
  'virtio-rng-pci': { asksGuest: true },
  'virtio-serial-pci': { asksGuest: true },
  VGA: {},
  'usb-tablet': {},
  'usb-kbd': {},
  'isa-serial': {},
  virtserialport: {},
}

/** The names of all kinds, for `-device help`. */
export const modelNames: readonly string[] = Object.keys(kinds)
