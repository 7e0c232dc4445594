/** What of a machine its drives show: its places for them, and those that it has by itself. */
import { parseKeyValues, toObject } from '@diskgraph/qapi'
import type { EmulatorOption } from './command-line.ts'

/** A machine of QEMU, as far as drives go. */
export interface Machine {
  /** The buses of its disk controller, and the disks on each. */
  readonly ide: { readonly buses: number; readonly units: number }
  /** The drives that it has by itself, as values of `-drive`, by what takes their place. */
  readonly drives: Readonly<Partial<Record<'cd' | 'floppy' | 'sd', string>>>
}

const drives = { cd: 'if=ide,index=2,media=cdrom', floppy: 'if=floppy,index=0', sd: 'if=sd,index=0' }
const pc: Machine = { ide: { buses: 2, units: 2 }, drives }
const q35: Machine = { ide: { buses: 6, units: 1 }, drives: { cd: drives.cd, sd: drives.sd } }

/** The kinds of devices that keep a machine from having its own. */
const replacing: Readonly<Record<string, readonly string[]>> = {
  cd: ['ide-cd', 'ide-hd', 'scsi-cd', 'scsi-hd'],
  floppy: ['floppy', 'isa-fdc'],
  sd: [],
}

/** The machine that `-machine` or `-M` asks for, by default `pc`. */
export function machineOf(options: readonly EmulatorOption[]): Machine {
  const value = options.findLast(({ name }) => name === 'machine' || name === 'M')?.value ?? ''
  const { type = 'pc' } = toObject(parseKeyValues(value, 'type'))
  if (type === 'none') return { ...pc, drives: {} }
  return /^(?:pc-)?q35/.test(type) ? q35 : pc
}

/** The values of `-drive` that `machine` adds by itself, unless `-nodefaults` or devices of that kind say otherwise. */
export function defaultDrives(machine: Machine, options: readonly EmulatorOption[]): string[] {
  if (options.some(({ name }) => name === 'nodefaults')) return []
  const kinds = options.flatMap(({ name, value }) =>
    name === 'device' || name === 'global' ? value.replace(/^driver=/, '').split(/[,.]/, 1) : [],
  )
  return Object.entries(machine.drives).flatMap(([kind, drive]) =>
    replacing[kind]?.some((name) => kinds.includes(name)) ? [] : [drive],
  )
}
