/** What is allocated where, in runs as long as they are. */
import { type BlockStatus, throwIfAborted } from '@diskgraph/core/driver'
import { nextTable } from '../mapping/l2-tables.ts'
import { findRun, Kind, newRun, type Run } from '../mapping/map.ts'
import { isPreallocated } from '../refcounts/preallocated.ts'
import type { Qcow2State } from '../state.ts'

/** L2 tables that one answer looks at, at most. */
const maxSteps = 1024
const unitsPerStep = 40

/** The status of the range from `offset` on, in this layer. */
export async function blockStatus(
  state: Qcow2State,
  offset: number,
  length: number,
  signal?: AbortSignal,
): Promise<BlockStatus> {
  state.checkUsable()
  throwIfAborted(signal)
  const pace = state.questions
  const turn = pace.step(unitsPerStep)
  if (turn !== undefined) await turn
  const run = newRun()
  await findRun(state, offset, length, run)
  const first = { ...run }
  let covered = run.length
  for (let step = 0; step < maxSteps && covered < length; step++) {
    if (first.kind === Kind.unallocated) covered = Math.min(length, nextTable(state, offset + covered) - offset)
    if (covered === length) break
    await findRun(state, offset + covered, length - covered, run)
    if (!continues(first, covered, run)) break
    covered += run.length
    const turn = pace.step(unitsPerStep)
    if (turn !== undefined) await turn
    throwIfAborted(signal)
  }
  const preallocated = first.kind === Kind.normal && (await isPreallocated(state, signal))
  return statusOf(state, first, covered, preallocated)
}

function continues(first: Run, covered: number, run: Run): boolean {
  if (run.kind !== first.kind) return false
  if (run.kind === Kind.normal || run.kind === Kind.zeroAllocated) return run.host === first.host + covered
  return true
}

function statusOf(state: Qcow2State, run: Run, length: number, preallocated: boolean): BlockStatus {
  const sparse = preallocated ? ({ recurse: 'zeroes' } as const) : {}
  switch (run.kind) {
    case Kind.unallocated:
      return { length, data: false, zero: state.backing() === undefined, allocated: false }
    case Kind.zero:
      return { length, data: false, zero: true, allocated: true }
    case Kind.zeroAllocated:
      return { length, data: false, zero: true, allocated: true, offset: run.host, file: state.file }
    case Kind.compressed:
      return { length, data: true, zero: false, allocated: true, compressed: true }
    default:
      return { length, data: true, zero: false, allocated: true, offset: run.host, file: state.file, ...sparse }
  }
}
