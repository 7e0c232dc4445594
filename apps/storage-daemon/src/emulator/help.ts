/** What `help` among the options prints. */
import { objectHelp } from '@diskgraph/qapi'
import { drivers } from '../driver-table.ts'
import { blockdevHelp, chardevHelp } from '../option-help.ts'
import { modelNames } from './model-kinds.ts'
import { propertyHelp } from './model-properties.ts'
import { optionGroups } from './option-groups.ts'

/** The text for `-help`, or for an option whose `value` asks for help. EINVAL for a device that is none. */
export async function helpText(program: string, option: string, value: string): Promise<string> {
  if (option === 'object') return objectHelp(value)
  if (option === 'chardev') return value === 'help' ? chardevHelp() : groupHelp('chardev')
  if (option === 'add-fd') return groupHelp('add-fd')
  if (option === 'M' || option === 'machine') return machines
  if (option === 'blockdev') return blockdevHelp(value)
  if (option === 'device' && value.endsWith(',help')) return propertyHelp(value.slice(0, -',help'.length))
  if (option === 'device') return modelNames.map((name) => `name "${name}"\n`).join('')
  if (option === 'drive') {
    const names = drivers.map(({ name }) => name).join(' ')
    return `Supported formats: ${names}\nSupported formats (read-only): ${names}\n`
  }
  return `usage: ${program} [options] [disk_image]

The block layer of a machine without the machine, by the command line of QEMU's system emulator.
  -drive, -blockdev, -hda, -cdrom, -fda   disks        -device NAME,drive=ID   what shows them
  -object, -chardev, -mon, -qmp, -monitor, -qtest, -pidfile, -daemonize, -S, -snapshot
Options and devices of the machine itself are accepted and have no effect.
`
}

const types: Readonly<Record<string, string>> = { string: 'str', number: 'num', boolean: 'bool (on/off)', size: 'size' }

/** The keys of an option, as QEMU lists them. */
function groupHelp(option: string): string {
  const parameters = optionGroups(option).flatMap((group) => group.parameters)
  const lines = parameters.map(({ name, type, help }) => {
    const key = `  ${name}=<${types[type]}>`
    return help === undefined ? `${key}\n` : `${key.padEnd(24)} - ${help}\n`
  })
  return `${option} options:\n${lines.sort().join('')}`
}

/** Scripts look for the default one, and for the short name of it. */
const machines = `Supported machines are:
pc                   no machine (alias of pc-i440fx-7.2)
pc-i440fx-7.2        no machine (default)
q35                  no machine
none                 no machine
`
