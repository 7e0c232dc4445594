/** The command line of QEMU's system emulator: options with one dash or two, in order, each with its value or none. */
import { StartError } from '../failure.ts'

/** An option as it was given. */
export interface EmulatorOption {
  readonly name: string
  /** Empty where it takes none. */
  readonly value: string
  /** How messages name it: `-drive if=none`. */
  readonly spelled: string
}

/** Options that take a value: some of these matter here, others are those of a machine that is not there. */
const valued = new Set([
  'M',
  'accel',
  'add-fd',
  'audiodev',
  'blockdev',
  'boot',
  'cdrom',
  'chardev',
  'cpu',
  'd',
  'D',
  'device',
  'display',
  'drive',
  'fda',
  'fdb',
  'global',
  'hda',
  'hdb',
  'hdc',
  'hdd',
  'k',
  'm',
  'machine',
  'mon',
  'monitor',
  'name',
  'net',
  'netdev',
  'nic',
  'object',
  'pidfile',
  'qmp',
  'qmp-pretty',
  'qtest',
  'qtest-log',
  'rtc',
  'sandbox',
  'serial',
  'set',
  'smp',
  'trace',
  'uuid',
  'vga',
])
const plain = new Set([
  'S',
  'daemonize',
  'enable-kvm',
  'h',
  'help',
  'no-acpi',
  'no-reboot',
  'no-shutdown',
  'no-user-config',
  'nodefaults',
  'nographic',
  'snapshot',
  'version',
])

/** The options of `words`; a word that is none is a disk, as in QEMU. Throws for what is unknown. */
export function parseEmulatorLine(words: readonly string[]): EmulatorOption[] {
  const given: EmulatorOption[] = []
  for (let at = 0; at < words.length; at++) {
    const word = words[at] as string
    if (!word.startsWith('-') || word === '-') {
      given.push({ name: 'hda', value: word, spelled: word })
      continue
    }
    const name = word.replace(/^--?/, '')
    if (plain.has(name)) given.push({ name, value: '', spelled: `-${name}` })
    else if (!valued.has(name)) throw new StartError(`${word}: invalid option`)
    else {
      const value = words[++at]
      if (value === undefined) throw new StartError(`${word}: requires an argument`)
      given.push({ name, value, spelled: `-${name} ${value}` })
    }
  }
  return given
}
