/** What `help` among the options prints. */
import { drivers } from '../driver-table.ts'
import { modelNames } from './models.ts'

/** The text for `-help`, or for an option whose value is `help`. */
export function helpText(program: string, option: string): string {
  if (option === 'M' || option === 'machine') return machines.map((name) => `${name.padEnd(20)} no machine\n`).join('')
  if (option === 'device') return modelNames.map((name) => `name "${name}"\n`).join('')
  if (option === 'drive') return `Supported formats: ${drivers.map(({ name }) => name).join(' ')}\n`
  return `usage: ${program} [options] [disk_image]

The block layer of a machine without the machine, by the command line of QEMU's system emulator.
  -drive, -blockdev, -hda, -cdrom, -fda   disks        -device NAME,drive=ID   what shows them
  -object, -chardev, -mon, -qmp, -monitor, -qtest, -pidfile, -daemonize, -S, -snapshot
Options of the machine itself are accepted and have no effect.
`
}

const machines = ['pc', 'q35', 'none', 'virt', 's390-ccw-virtio']
