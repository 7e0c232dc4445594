/**
 * Reads that the storage answers late. While they are under way the disk is written, zeroed, discarded and flushed:
 * what a reader gets then is what its range held at some moment since, never what has been put into reused space.
 */
import { must, mustSettle, turns } from '../assertions.ts'
import { type ActionKind, actionKinds } from './actions.ts'
import type { DiskState } from './disk-state.ts'
import type { Case, Fixture } from './fixture.ts'
import { UsedDisk } from './used-disk.ts'

interface LateRead {
  readonly offset: number
  readonly buf: Uint8Array
  readonly ended: Promise<void>
}

function startReads(used: UsedDisk): LateRead[] {
  const { disk, fixture } = used
  return Array.from({ length: 6 }, () => {
    const length = fixture.random.pick([512, 4096, 20_000])
    const offset = fixture.random.below(disk.size - length)
    const buf = new Uint8Array(length).fill(0xd6)
    return { offset, buf, ended: disk.read(offset, buf) }
  })
}

/** Starts some changes one after the other, each when the one before has ended or waits for the reads. */
async function change(
  used: UsedDisk,
  kinds: readonly ActionKind[],
): Promise<{ states: DiskState[]; ended: Promise<unknown> }> {
  const { disk, fixture } = used
  const states = [used.state]
  const running: Promise<unknown>[] = []
  for (let i = 0; i < 8; i++) {
    const last = states.at(-1) as DiskState
    const action = fixture.random.pick(kinds).make(last, fixture.random)
    states.push(...action.outcomes(last).map(({ state }) => state))
    const ended = action.run(disk)
    running.push(ended)
    await Promise.race([ended, turns(400)])
  }
  return { states, ended: Promise.all(running) }
}

function faultOf({ offset, buf }: LateRead, states: readonly DiskState[]): string | undefined {
  for (let i = 0; i < buf.length; i++) {
    const got = buf[i] as number
    if (!states.some((state) => state.allows(offset + i, got))) {
      return `a late read of ${buf.length} at ${offset} gives ${got} at ${offset + i}, which was never there`
    }
  }
  return undefined
}

async function readLate(fixture: Fixture): Promise<void> {
  const used = await UsedDisk.open(fixture)
  const names = ['write', 'write zeroes', 'discard', 'flush']
  const kinds = actionKinds.filter(
    ({ name, needs }) => names.includes(name) && needs.every((need) => fixture.capabilities.has(need)),
  )
  const pattern = Uint8Array.from({ length: used.disk.size }, (_, i) => (Math.floor(i / 4096) % 200) + 1)
  for (let round = 0; round < 25; round++) {
    await used.disk.write(0, pattern)
    used.state = used.state.written(0, pattern)
    fixture.faults.hold('read')
    const reads = startReads(used)
    await turns(60)
    fixture.faults.hold()
    const { states, ended } = await change(used, kinds)
    fixture.faults.release()
    await mustSettle(Promise.all([ended, ...reads.map((read) => read.ended)]), 'a late read, or a change meanwhile,')
    for (const read of reads) {
      const fault = faultOf(read, states)
      must(fault === undefined, String(fault))
    }
    const settled = new Uint8Array(used.disk.size)
    await used.disk.read(0, settled)
    used.state = used.state.settled(settled)
  }
}

/** What holds for reads that take long. */
export const lateAnswerCases: readonly Case[] = [
  {
    name: 'shows a late reader what was there at some moment, and nothing else',
    needs: ['write', 'persistence', 'file'],
    size: 2 ** 18 + 3 * 512,
    run: readLate,
  },
]
