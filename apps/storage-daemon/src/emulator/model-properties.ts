/**
 * The properties that each kind of device takes, by QEMU 7.2's `-device KIND,help`. Most are those of a machine and have
 * no effect; a name that is none of them is a slip, and is refused.
 */
import { BlockError } from '@diskgraph/core'
import { nearestName } from '@diskgraph/core/internal'
import { kinds } from './model-kinds.ts'

const named = (text: string): readonly string[] => text.split(/\s+/)

const pci = named(
  'acpi-index addr failover_pair_id multifunction rombar romfile romsize x-pcie-extcap-init x-pcie-lnksta-dllla',
)
const block = named(
  `account-failed account-invalid backend_defaults discard_granularity drive logical_block_size min_io_size
   opt_io_size physical_block_size share-rw write-cache`,
)
const disk = [...block, ...named('bootindex rerror serial werror')]
const geometry = named('cyls heads lcyls lheads lsecs secs')
const virtioBase = named(
  `any_layout event_idx indirect_desc iommu_platform notify_on_empty packed queue_reset use-disabled-flag use-started
   x-disable-legacy-check`,
)
const virtio = [...virtioBase, 'iothread']
const virtioPci = [
  ...pci,
  ...named(
    `aer ats disable-legacy disable-modern ioeventfd migrate-extra modern-pio-notify page-per-vq vectors virtio-backend
     virtio-pci-bus-master-bug-migration x-ats-page-aligned x-disable-pcie x-ignore-backend-features x-pcie-deverr-init
     x-pcie-flr-init x-pcie-lnkctl-init x-pcie-pm-init`,
  ),
]
const ccw = named('devno ioeventfd max_revision')
const virtioBlk = [
  ...virtio,
  ...disk,
  ...geometry,
  ...named(
    `config-wce discard max-discard-sectors max-write-zeroes-sectors num-queues queue-size report-discard-granularity
     request-merging scsi seg-max-adjust write-zeroes x-enable-wce-if-config-wce`,
  ),
]
const virtioScsi = [
  ...virtio,
  ...named('cmd_per_lun hotplug max_sectors num_queues param_change seg_max_adjust virtqueue_size'),
]
const scsi = [
  ...disk,
  ...named(
    `channel device_id lun max_io_size port_index port_wwn product quirk_mode_page_vendor_specific_apple scsi-id
     scsi_version vendor ver wwn`,
  ),
]
const ide = [...disk, ...named('model unit ver wwn')]
const usb = named('attached msos-desc pcap port serial')
const bridge = named('bus-reserve io-reserve mem-reserve pref32-reserve pref64-reserve')

const properties: Readonly<Record<string, readonly string[]>> = {
  'virtio-blk-pci': [...virtioBlk, ...virtioPci, 'class'],
  'virtio-blk-ccw': [...virtioBlk, ...ccw],
  'virtio-blk-device': virtioBlk,
  'scsi-hd': [...scsi, ...geometry, ...named('dpofua max_unmap_size removable rotation_rate')],
  'scsi-cd': [...scsi, ...named('quirk_mode_page_apple_vendor quirk_mode_page_truncated quirk_mode_sense_rom_use_dbd')],
  'ide-hd': [...ide, ...geometry, ...named('bios-chs-trans rotation_rate')],
  'ide-cd': ide,
  floppy: [...block, 'drive-type', 'unit'],
  'usb-storage': [...disk, ...named('attached commandlog msos-desc pcap port removable')],
  nvme: [
    ...block,
    ...pci,
    ...named(
      `aer_max_queued aerl bootindex cmb_size_mb ioeventfd max_ioqpairs mdts msix-exclusive-bar msix_qsize num_queues
       pmrdev serial smart_critical_warning sriov_max_vfs sriov_max_vi_per_vf sriov_max_vq_per_vf sriov_vi_flexible
       sriov_vq_flexible subsys use-intel-id vsl zoned.auto_transition zoned.zasl`,
    ),
  ],
  'virtio-scsi-pci': [...virtioScsi, ...virtioPci],
  'virtio-scsi-ccw': [...virtioScsi, ...ccw],
  'virtio-scsi-device': virtioScsi,
  lsi53c895a: pci,
  lsi53c810: pci,
  am53c974: [...pci, 'esp'],
  megasas: [...pci, ...named('hba_serial max_cmds max_sge msi msix sas_address use_jbod')],
  'pci-bridge': [...pci, ...bridge, ...named('chassis_nr msi shpc')],
  'pcie-root-port': [
    ...pci,
    ...bridge,
    ...named(
      `aer_log_max chassis disable-acs hotplug port power_controller_present slot x-migrate-msix x-native-hotplug x-speed
       x-width`,
    ),
  ],
  'isa-fdc': named('bootindexA bootindexB dma fallback fdtypeA fdtypeB iobase irq'),
  ahci: [...pci, 'ahci-idp[0]', 'ahci[0]'],
  'piix3-usb-uhci': [...pci, 'bandwidth', 'maxframes'],
  'usb-ehci': [...pci, ...named('capabilities[0] ehci[0] maxframes operational[0] ports[0]')],
  'qemu-xhci': [...pci, ...named('host p2 p3 streams xhci-core')],
  'virtio-net-pci': [
    ...virtioBase,
    ...virtioPci,
    ...named(
      `bootindex csum ctrl_guest_offloads ctrl_mac_addr ctrl_rx ctrl_rx_extra ctrl_vlan ctrl_vq duplex failover gso
       guest_announce guest_csum guest_ecn guest_rsc_ext guest_tso4 guest_tso6 guest_ufo hash host_ecn host_mtu host_tso4
       host_tso6 host_ufo mac mq mrg_rxbuf netdev rsc_interval rss rx_queue_size speed status tx tx_queue_size
       x-mtu-bypass-backend x-txburst x-txtimer`,
    ),
  ],
  'virtio-balloon-pci': [
    ...virtio,
    ...virtioPci.filter((name) => name !== 'ioeventfd' && name !== 'vectors'),
    ...named(
      `deflate-on-oom free-page-hint free-page-reporting guest-stats guest-stats-polling-interval page-poison
       qemu-4-0-config-size`,
    ),
  ],
  'virtio-rng-pci': [...virtioBase, ...virtioPci, ...named('max-bytes period rng')],
  'virtio-serial-pci': [...virtioBase, ...virtioPci, ...named('class emergency-write max_ports')],
  VGA: [
    ...pci,
    ...named(
      `big-endian-framebuffer edid global-vmstate mmio qemu-extended-regs refresh_rate vgamem_mb xmax xres ymax yres`,
    ),
  ],
  'usb-tablet': [...usb, ...named('display head usb_version')],
  'usb-kbd': [...usb, ...named('display usb_version')],
  'isa-serial': named('baudbase chardev index iobase irq serial wakeup'),
  virtserialport: named('chardev name nr'),
}

/** Kinds that are the same by a shorter name. */
const aliases: Readonly<Record<string, string>> = {
  'virtio-blk': 'virtio-blk-pci',
  'virtio-scsi': 'virtio-scsi-pci',
}

/** What every device takes. */
const general = new Set(['driver', 'id', 'bus'])

/** Throws EINVAL for an option in `given` that no device of `kind`, one of {@link kinds}, has. */
export function checkProperties(kind: string, given: Iterable<string>): void {
  const { name, known } = propertiesOfKind(kind)
  for (const property of given) {
    if (general.has(property) || known.includes(property)) continue
    const near = nearestName(property, known)
    const hint = near === undefined ? undefined : `did you mean '${near}'?`
    throw new BlockError('EINVAL', `Property '${name}.${property}' not found`, { hint })
  }
}

/** The text for `-device KIND,help`. EINVAL for a kind that is none. */
export function propertyHelp(kind: string): string {
  if (!Object.hasOwn(kinds, kind)) throw new BlockError('EINVAL', `Device '${kind}' not found`)
  const { name, known } = propertiesOfKind(kind)
  return `${name} options:\n${known.map((property) => `  ${property}\n`).join('')}`
}

function propertiesOfKind(kind: string): { readonly name: string; readonly known: readonly string[] } {
  const name = aliases[kind] ?? kind
  return { name, known: [...(properties[name] as readonly string[])].sort() }
}
