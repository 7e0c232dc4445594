/**
 * Pairs of operations that are started together, over a storage that answers late.
 *
 * Every kind of operation of the driver meets every other, in both orders, on one image that is used on and on. What
 * comes of it must be what one of the two orders gives: the outcomes of both, the content, the size, the snapshots.
 * Requests (reads, writes…) may interleave byte by byte; operations on the whole image are atomic for all others.
 */
import { must, mustSettle, turns } from '../assertions.ts'
import { bugIn } from '../bugs.ts'
import type { Action, ActionKind } from './actions.ts'
import { DiskState } from './disk-state.ts'
import type { Case, Fixture } from './fixture.ts'
import { checkImage } from './random-operations.ts'
import { kindsOf, UsedDisk } from './used-disk.ts'

/** What came of one action. */
interface Result {
  readonly failure: unknown
  readonly value: unknown
}

async function resultOf(work: () => Promise<unknown>): Promise<Result> {
  try {
    return { failure: undefined, value: await work() }
  } catch (failure) {
    return { failure: failure ?? new Error('rejected with nothing'), value: undefined }
  }
}

/** One possible course of a pair: whether each is refused, and what the disk holds then. */
interface Course {
  readonly refusals: readonly [boolean, boolean]
  readonly state: DiskState
}

function courses(state: DiskState, first: Action, second: Action): Course[] {
  const found: Course[] = []
  for (const a of first.outcomes(state)) {
    for (const b of second.outcomes(a.state)) found.push({ refusals: [a.refused, b.refused], state: b.state })
  }
  return found
}

/** Two writes may interleave: each byte is as one of them leaves it. */
function mingled(states: readonly DiskState[]): DiskState {
  const [first, last] = [states[0] as DiskState, states.at(-1) as DiskState]
  const others = last.others.slice()
  for (let i = 0; i < others.length; i++) {
    if (first.bytes[i] !== first.others[i]) others[i] = first.others[i] as number
    else if (last.bytes[i] !== first.bytes[i]) others[i] = last.bytes[i] as number
  }
  return new DiskState(first.bytes, others, first.snapshots, first.closed)
}

function faultOfRead(value: unknown, states: readonly DiskState[]): string | undefined {
  const read = value as { offset: number; buf: Uint8Array } | undefined
  if (read?.buf === undefined) return undefined
  for (let i = 0; i < read.buf.length; i++) {
    const got = read.buf[i] as number
    if (!states.some((state) => state.allows(read.offset + i, got))) return `reads ${got} at ${read.offset + i}`
  }
  return undefined
}

async function runPair(used: UsedDisk, first: Action, second: Action, gap: number): Promise<void> {
  const { disk, state } = used
  const what = `'${first.text}' and '${second.text}' at once`
  const running = resultOf(() => first.run(disk))
  await turns(gap)
  const results = await mustSettle(Promise.all([running, resultOf(() => second.run(disk))]), what)
  for (const { failure } of results) {
    const bug = failure === undefined ? undefined : bugIn(failure)
    must(bug === undefined, `${what}: ${bug}`)
  }
  const reverse = courses(state, second, first).map(
    ({ refusals: [a, b], state: after }): Course => ({ refusals: [b, a], state: after }),
  )
  const possible = [...courses(state, first, second), ...reverse].filter(({ refusals }) =>
    results.every(({ failure }, i) => (failure !== undefined) === refusals[i]),
  )
  const told = results.map(({ failure }) => (failure === undefined ? 'succeeds' : String(failure)))
  must(possible.length > 0, `${what}: one ${told.join(', the other ')}: neither order of the two gives that`)
  const meanwhile = [state, ...[...first.outcomes(state), ...second.outcomes(state)].map((one) => one.state)]
  for (const { value } of results) {
    const fault = faultOfRead(value, meanwhile)
    must(fault === undefined, `${what}: ${fault}`)
  }
  const states = possible.map((course) => course.state)
  await used.settle(first.whole || second.whole ? states : [mingled(states)], `after ${what}`)
}

/** Runs one action with nothing beside it. */
async function runAlone(used: UsedDisk, kind: ActionKind): Promise<void> {
  const action = kind.make(used.state, used.fixture.random)
  const { failure } = await mustSettle(
    resultOf(() => action.run(used.disk)),
    `'${action.text}'`,
  )
  const refused = failure !== undefined
  const fitting = action.outcomes(used.state).filter((one) => one.refused === refused)
  must(fitting.length > 0, `'${action.text}' alone: ${String(failure ?? 'succeeds')}`)
  await used.settle(
    fitting.map((one) => one.state),
    `after '${action.text}' alone`,
  )
}

/** Starts every pair of kinds in both orders. */
async function allPairs(fixture: Fixture): Promise<void> {
  fixture.faults.jitter = fixture.random.fork()
  const used = await UsedDisk.open(fixture)
  const kinds = kindsOf(fixture)
  for (const kind of kinds) await runAlone(used, kind)
  // Of two growths at once the smaller one may come second, which a disk that cannot shrink refuses.
  const together = (a: ActionKind, b: ActionKind): boolean =>
    !(fixture.capabilities.has('refuses shrink') && a.name === 'grow' && b.name === 'grow') &&
    !(!fixture.capabilities.has('grow') && a.name === 'shrink' && b.name === 'shrink')
  const pairs = kinds.flatMap((a) => kinds.flatMap((b) => (together(a, b) ? [[a, b] as const] : [])))
  while (pairs.length > 0) {
    const [[a, b]] = pairs.splice(fixture.random.below(pairs.length), 1) as [readonly [ActionKind, ActionKind]]
    const { state } = used
    const gap = fixture.random.pick([0, 0, 1, 3, 9, 20])
    await runPair(used, a.make(state, fixture.random), b.make(state, fixture.random), gap)
    if (fixture.random.chance(0.1)) await checkImage(used.disk)
  }
  await checkImage(used.disk)
  await used.disk.close()
  await used.reopen()
  await used.settle([used.state], 'after the end')
}

/** What holds when operations meet. */
export const concurrencyCases: readonly Case[] = [
  {
    name: 'gives one of the two orders for each pair of operations that are started together',
    needs: ['write', 'persistence'],
    size: 2 ** 17 + 3 * 512,
    run: allPairs,
  },
  {
    name: 'gives one of the two orders for each pair over a storage with blocks of 4 KiB that grows',
    needs: ['write', 'persistence', 'file'],
    size: 2 ** 17 + 3 * 4096,
    blocks: 4096,
    run: allPairs,
  },
]
