/**
 * Operations on a whole image that are broken off at every step.
 *
 * The n-th call to the storage fails, or the signal of the operation is aborted at the n-th call, for n = 1, 2, 3 …
 * until the operation gets through. Each time the disk must be as before or as after the operation, be used on, and be
 * the same when it is opened anew.
 */
import type { ErrorCode } from '@diskgraph/core/driver'
import { must, mustSettle } from '../assertions.ts'
import { bugIn } from '../bugs.ts'
import type { Action, ActionKind } from './actions.ts'
import { DiskState } from './disk-state.ts'
import type { Case, Fixture } from './fixture.ts'
import { contentOf, kindsOf, UsedDisk } from './used-disk.ts'

type Way = 'EIO' | 'ENOSPC' | 'abort' | 'throw'

const mostSteps = 150

/** Data that `used` is given and has flushed, and a snapshot to apply and to delete. */
async function prepare(used: UsedDisk): Promise<void> {
  const { disk, fixture } = used
  for (let i = 0; i < 4; i++) {
    const offset = fixture.random.below(disk.size - 8192)
    const data = new Uint8Array(8192).fill(fixture.random.between(1, 255))
    await disk.write(offset, data)
    used.state = used.state.written(offset, data)
  }
  await disk.flush()
  if (fixture.capabilities.has('snapshots') && used.state.snapshots.size === 0) {
    await disk.snapshots.create({ name: 'before' })
    used.state = used.state.withSnapshots(new Map([['before', used.state]]))
  }
}

/** What the disk may hold after `action` has failed under way. */
function partly(before: DiskState, action: Action): DiskState[] {
  const after = action.outcomes(before).map(({ state }) => state)
  const smallest = Math.min(before.size, ...after.map(({ size }) => size))
  // What a shrinking disk was about to lose may be lost.
  const cut = smallest < before.size ? [before.discarded(smallest, before.size - smallest)] : []
  return [before, ...after, ...cut]
}

/** Runs `kind` once with a failure at call `nth`; false when it met none. */
async function breakOff(used: UsedDisk, kind: ActionKind, way: Way, nth: number): Promise<boolean> {
  const { fixture, disk } = used
  await prepare(used)
  const action = kind.make(used.state, fixture.random)
  const what = `'${action.text}', with ${way} at call ${nth}`
  const controller = new AbortController()
  const code: ErrorCode = way === 'ENOSPC' ? 'ENOSPC' : 'EIO'
  fixture.faults.arm(
    way === 'abort' ? { nth, onHit: () => controller.abort() } : { nth, code, thrown: way === 'throw' },
  )
  let failure: unknown
  await mustSettle(
    action.run(disk, controller.signal).catch((error: unknown) => {
      failure = error ?? new Error('rejected with nothing')
    }),
    what,
  )
  const hit = fixture.faults.hits[0]
  fixture.faults.disarm()
  const bug = failure === undefined ? undefined : bugIn(failure)
  must(bug === undefined, `${what}: ${bug}`)
  const outcomes = action.outcomes(used.state)
  const refused = failure !== undefined
  const candidates = outcomes.filter((one) => one.refused === refused).map((one) => one.state)
  const where = hit === undefined ? what : `${what} (${hit.kind} of ${hit.length} at ${hit.offset})`
  if (hit === undefined) must(candidates.length > 0, `${where}: ${String(failure ?? 'it succeeds')}`)
  await useOn(used, refused && hit !== undefined ? partly(used.state, action) : candidates, where)
  return hit !== undefined
}

/** Writes once more, closes and opens again, and compares. A disk may refuse after a fault, but not lie. */
async function useOn(used: UsedDisk, candidates: readonly DiskState[], where: string): Promise<void> {
  const { disk } = used
  const closed = candidates.some((state) => state.closed)
  const open = candidates.map(({ bytes, others, snapshots }) => new DiskState(bytes, others, snapshots))
  const now = closed ? undefined : await mustSettle(contentOf(disk), `${where}: reading`).catch(onlyRefusal)
  const faults = now === undefined ? [] : open.map((state) => state.faultOf(now))
  must(now === undefined || faults.includes(undefined), `after ${where}: ${[...new Set(faults)].join('; or ')}`)
  const fitting = now === undefined ? open : open.filter((_, i) => faults[i] === undefined)
  let states = fitting
  if (!closed) {
    const data = new Uint8Array(3000).fill(0x5a)
    const failure = await mustSettle(
      disk.write(1000, data).then(() => disk.flush()),
      `${where}: writing on`,
    ).catch(onlyRefusal)
    const written = fitting.map((state) => state.written(1000, data))
    states = failure === undefined ? written : [...fitting, ...written]
  }
  await mustSettle(disk.close(), `${where}: closing`).catch(onlyRefusal)
  await used.reopen()
  const repair = used.fixture.capabilities.has('check')
  if (repair) {
    const found: string[] = []
    const onFinding = (kind: string, text: string): void => void (kind === 'error' && found.push(text))
    const { corruptions } = await used.disk.check({ repair: 'leaks', onFinding })
    must(corruptions === 0, `after ${where}: check finds ${found.slice(0, 3).join('; ')}`)
  }
  await used.settle(states, `opened again after ${where}`)
}

/** Undefined for a promise that rejects with a refusal; a bug is thrown. */
function onlyRefusal(error: unknown): undefined {
  const bug = bugIn(error)
  if (bug !== undefined) throw new Error(bug)
  return undefined
}

async function everyStep(fixture: Fixture, ways: readonly Way[]): Promise<void> {
  const used = await UsedDisk.open(fixture)
  const kinds = kindsOf(fixture).filter(({ whole, name }) => whole || name === 'flush')
  for (const kind of kinds) {
    for (const way of ways) {
      for (let nth = 1; nth < mostSteps && (await breakOff(used, kind, way, nth)); nth++);
    }
  }
}

/** What holds when an operation is broken off. */
export const interruptionCases: readonly Case[] = [
  {
    name: 'is as before or as after each whole operation whose n-th call to the storage fails, and goes on',
    needs: ['write', 'persistence', 'file'],
    size: 2 ** 17 + 3 * 512,
    run: (fixture) => everyStep(fixture, ['EIO', 'ENOSPC']),
  },
  {
    name: 'is as before or as after each whole operation that is aborted at its n-th call to the storage, and goes on',
    needs: ['write', 'persistence', 'file'],
    size: 2 ** 17 + 3 * 512,
    run: (fixture) => everyStep(fixture, ['abort']),
  },
  {
    name: 'rejects, and hangs nowhere, when its storage throws instead of rejecting',
    needs: ['write', 'persistence', 'file'],
    size: 2 ** 17 + 3 * 512,
    run: async (fixture) => {
      await everyStep(fixture, ['throw'])
      await throwingRequests(fixture)
    },
  },
]

/** Requests over a storage that throws. */
async function throwingRequests(fixture: Fixture): Promise<void> {
  for (let nth = 1; nth < mostSteps; nth++) {
    const disk = await fixture.open()
    fixture.faults.arm({ nth, code: 'EIO', thrown: true })
    const requests = [
      () => disk.write(700, new Uint8Array(9000).fill(nth)),
      () => disk.read(0, new Uint8Array(20_000)),
      () => disk.writeZeroes(40_000, 9000),
      () => disk.discard(0, 65536),
      () => disk.flush(),
    ]
    // In a function of their own: what throws at once must reject all the same.
    const ended = requests.map(async (request) => request())
    const results = await mustSettle(Promise.allSettled(ended), `call ${nth} throws, and a request`)
    const hit = fixture.faults.hits[0]
    fixture.faults.disarm()
    for (const result of results) if (result.status === 'rejected') onlyRefusal(result.reason)
    await mustSettle(disk.write(700, new Uint8Array(9000)), `call ${nth} threw, and a write after it`).catch(
      onlyRefusal,
    )
    await mustSettle(disk.close(), `call ${nth} threw, and the close after it`).catch(onlyRefusal)
    if (hit === undefined) return
  }
}
