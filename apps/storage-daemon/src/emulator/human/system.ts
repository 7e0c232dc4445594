/** What commands of the human monitor are, and what they work on. */
import type { Graph } from '@diskgraph/core'
import type { DeviceTable } from '@diskgraph/devices'
import type { Monitor } from '@diskgraph/qmp'
import type { Drives } from '../../drives/drives.ts'
import type { Models } from '../models.ts'
import type { QemuIo } from '../qemu-io.ts'
import type { Grammar } from './words.ts'

/** What the commands work on. */
export interface HumanSystem {
  readonly graph: Graph
  readonly devices: DeviceTable
  readonly drives: Drives
  readonly models: Models
  readonly qemuIo: QemuIo
  readonly monitor: Monitor
}

/** What a command was given. */
export interface HumanCall {
  readonly words: readonly string[]
  readonly flags: ReadonlySet<string>
  tell(text: string): void
}

/** A command: what it takes, what help says, and what runs it. */
export interface HumanCommand extends Grammar {
  readonly usage: string
  readonly summary: string
  run(system: HumanSystem, call: HumanCall): Promise<unknown> | unknown
}

/** A command that QMP has as well: its arguments out of the words. Those without a value are left out. */
export function forwarded(
  grammar: Grammar & { readonly usage: string; readonly summary: string },
  command: string,
  args: (call: HumanCall) => Record<string, unknown>,
): HumanCommand {
  const run = ({ monitor }: HumanSystem, call: HumanCall): Promise<unknown> => {
    const given = Object.entries(args(call)).filter(([, value]) => value !== undefined)
    return monitor.execute(command, Object.fromEntries(given), { text: true })
  }
  return { ...grammar, run }
}
