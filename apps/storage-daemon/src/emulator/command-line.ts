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

const named = (text: string): readonly string[] => text.trim().split(/\s+/)

/** Options that take a value: those that matter here, then those of a machine that is not there. */
const valued = new Set([
  ...named(
    `M accel add-fd blockdev cdrom chardev device drive fda fdb global hda hdb hdc hdd incoming machine mon monitor
     object pidfile qmp qmp-pretty qtest qtest-log set`,
  ),
  ...named(
    `D L acpitable action append audio audiodev bios boot compat cpu d debugcon dfilter display dtb echr fsdev fw_cfg gdb
     icount initrd k kernel m mem-path msg name net netdev nic numa option-rom overcommit parallel plugin rotate rtc
     sandbox seed serial smbios smp spice tpmdev trace usbdevice uuid vga virtfs vnc watchdog-action xen-domid`,
  ),
])
const plain = new Set([
  ...named('S daemonize h help nodefaults snapshot version'),
  ...named(
    `async-teardown enable-kvm enable-sync-profile full-screen mem-prealloc no-acpi no-fd-bootchk no-hpet no-reboot
     no-shutdown no-user-config nographic only-migratable portrait s singlestep usb win2k-hack xen-attach
     xen-domid-restrict`,
  ),
])
/** What would change disks, or what this process may do, and is not there: to take it in silence would be a lie. */
const missing = new Set(
  named('audio-help chroot dump-vmstate iscsi loadvm mtdblock pflash preconfig readconfig runas sd'),
)

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
    else if (missing.has(name))
      throw new StartError(`${word}: there is no such option here; --help names those there are`)
    else if (!valued.has(name)) throw new StartError(`${word}: invalid option`)
    else {
      const value = words[++at]
      if (value === undefined) throw new StartError(`${word}: requires an argument`)
      if (name === 'incoming' && value !== 'defer') throw new StartError(`${word} ${value}: there is no migration here`)
      given.push({ name, value, spelled: `-${name} ${value}` })
    }
  }
  return given
}
