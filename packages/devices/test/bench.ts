import { type BlockEvent, Graph } from '@diskgraph/core'
import { type Device, type DeviceModel, type DeviceSettings, DeviceTable } from '@diskgraph/devices'
import { blkdebug } from '@diskgraph/driver-blkdebug'
import { memory } from '@diskgraph/driver-memory'
import { nullAio, nullCo } from '@diskgraph/driver-null'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { raw } from '@diskgraph/driver-raw'
import { VirtualClock } from '@diskgraph/driver-testkit'

/** A disk and a CD drive as a guest sees them. */
export const disk: DeviceModel = { name: 'virtio-blk' }
export const cd: DeviceModel = { name: 'scsi-cd', removable: true, tray: true }

/** A graph with devices in virtual time, and the events that it has raised. */
export class Bench {
  readonly clock = new VirtualClock()
  readonly graph = new Graph({ drivers: [blkdebug, memory, nullAio, nullCo, qcow2, raw], clock: this.clock })
  readonly devices = new DeviceTable(this.graph)
  readonly events: BlockEvent[] = []

  constructor() {
    this.graph.onEvent((event) => this.events.push(event))
  }

  /** Runs `work` in the bench's time, and closes everything. */
  static async run(work: (bench: Bench) => Promise<void>): Promise<void> {
    const bench = new Bench()
    const all = async (): Promise<void> => {
      await using _graph = bench.graph
      await using _devices = bench.devices
      await work(bench)
    }
    await bench.clock.run(all(), () => undefined)
  }

  /** A device over a disk in memory whose requests fail as `rules` of blkdebug say. */
  async failing(settings: DeviceSettings, ...rules: readonly Readonly<Record<string, unknown>>[]): Promise<Device> {
    const node = await this.graph.addNode({
      driver: 'raw',
      nodeName: 'top',
      discard: 'unmap',
      file: { driver: 'blkdebug', image: { driver: 'memory', size: 2 ** 20 }, injectError: rules, discard: 'unmap' },
    })
    const device = await this.devices.add({ id: 'drive0', ...settings }, node)
    await device.attach(disk, 'vd0')
    return device
  }

  /** A node that nobody uses, of 1 MiB that reads as `value`. */
  async node(nodeName: string, value = 0): Promise<string> {
    const size = 2 ** 20
    await this.graph.addNode({ driver: 'memory', nodeName, size })
    const filling = await this.graph.attach(nodeName)
    await filling.write(0, new Uint8Array(size).fill(value))
    await filling.close()
    return nodeName
  }

  named(event: string): readonly BlockEvent['data'][] {
    return this.events.filter((one) => one.event === event).map(({ data }) => data)
  }

  pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.clock.timeout(ms, resolve))
  }
}

/** A block of bytes that are all `value`. */
export function block(value: number): Uint8Array {
  return new Uint8Array(512).fill(value)
}

/** What `device` reads at `offset`, as the value of the first byte. */
export async function valueAt(device: Pick<Device, 'read'>, offset: number): Promise<number | undefined> {
  const buf = new Uint8Array(512)
  await device.read(offset, buf)
  return buf[0]
}

/** How `work` stands now. */
export async function stateOf(work: Promise<unknown>, bench: Bench): Promise<'waiting' | 'done' | 'failed'> {
  let state: 'waiting' | 'done' | 'failed' = 'waiting'
  work.then(
    () => {
      state = 'done'
    },
    () => {
      state = 'failed'
    },
  )
  await bench.pause(1)
  return state
}
