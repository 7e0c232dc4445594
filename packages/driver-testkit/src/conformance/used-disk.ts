/** A disk that a test uses on and on, with what it must hold. */
import type { Disk } from '@diskgraph/core'
import { must, mustSettle } from '../assertions.ts'
import { type ActionKind, actionKinds, amending } from './actions.ts'
import { DiskState } from './disk-state.ts'
import type { Fixture } from './fixture.ts'

/** The kinds of actions that the driver can do. */
export function kindsOf(fixture: Fixture): ActionKind[] {
  const amend = amending(fixture.settings.driver.createOptions)
  const all = amend === undefined ? actionKinds : [...actionKinds, amend]
  return all.filter(({ needs }) => needs.every((need) => fixture.capabilities.has(need)))
}

/** All bytes of a disk. */
export async function contentOf(disk: Disk): Promise<Uint8Array> {
  const bytes = new Uint8Array(disk.size).fill(0xd6)
  await disk.read(0, bytes)
  return bytes
}

/** See the top of the file. */
export class UsedDisk {
  readonly fixture: Fixture
  disk: Disk
  state: DiskState

  private constructor(fixture: Fixture, disk: Disk, state: DiskState) {
    this.fixture = fixture
    this.disk = disk
    this.state = state
  }

  static async open(fixture: Fixture): Promise<UsedDisk> {
    const disk = await fixture.open()
    return new UsedDisk(fixture, disk, new DiskState(fixture.model(disk).bytes))
  }

  /** Opens the disk again, after it was closed. */
  async reopen(): Promise<void> {
    this.disk = await mustSettle(this.fixture.open(), 'opening again')
    this.state = new DiskState(this.state.bytes, this.state.others, this.state.snapshots)
  }

  /** Holds the disk to one of `candidates`, and goes on from what it is. */
  async settle(candidates: readonly DiskState[], when: string): Promise<void> {
    if (candidates.some(({ closed }) => closed)) {
      this.state = candidates[0] as DiskState
      await this.reopen()
    }
    const bytes = await mustSettle(contentOf(this.disk), `reading ${when}`)
    const faults = candidates.map((candidate) => candidate.faultOf(bytes))
    const fitting = candidates.filter((_, i) => faults[i] === undefined)
    must(fitting.length > 0, `${when}: ${[...new Set(faults)].join('; or ')}`)
    await this.#settleSnapshots(fitting, bytes, when)
  }

  async #settleSnapshots(candidates: readonly DiskState[], bytes: Uint8Array, when: string): Promise<void> {
    const [first] = candidates as [DiskState]
    this.state = new DiskState(bytes, bytes, first.snapshots)
    if (!this.fixture.capabilities.has('snapshots')) return
    const names = listed(this.disk)
    const fitting = candidates.filter(({ snapshots }) => [...snapshots.keys()].sort().join() === names)
    must(fitting.length > 0, `${when}: the snapshots are ${names}, not ${[...first.snapshots.keys()].sort().join()}`)
    this.state = new DiskState(bytes, bytes, (fitting[0] as DiskState).snapshots)
    if (fitting.length > 1) await this.#tellSnapshotsApart(fitting, when)
    for (const name of [...this.state.snapshots.keys()].slice(2)) {
      await this.disk.snapshots.delete(name)
      this.state = this.state.withSnapshots(new Map([...this.state.snapshots].filter(([other]) => other !== name)))
    }
  }

  /** Where the orders differ in what a snapshot holds, it is applied and looked at. */
  async #tellSnapshotsApart(candidates: readonly DiskState[], when: string): Promise<void> {
    const [first] = candidates as [DiskState]
    for (const name of first.snapshots.keys()) {
      const states = candidates.map(({ snapshots }) => snapshots.get(name) as DiskState)
      const one = states[0] as DiskState
      if (states.every((state) => state === one || state.faultOf(one.bytes) === undefined)) continue
      await this.disk.snapshots.apply(name)
      const bytes = await contentOf(this.disk)
      const faults = states.map((state) => state.faultOf(bytes))
      must(faults.includes(undefined), `${when}: the snapshot ${name}: ${faults.join('; or ')}`)
      const settled = new DiskState(bytes)
      this.state = settled.withSnapshots(new Map([...this.state.snapshots, [name, settled]]))
    }
  }
}

function listed(disk: Disk): string {
  return disk.snapshots
    .list()
    .map(({ name }) => name)
    .sort()
    .join()
}
