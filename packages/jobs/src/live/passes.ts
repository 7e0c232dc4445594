/** Passes over what is dirty below a filter, by several workers at once. */
import type { DirtyBitmap, Disk, Node } from '@diskgraph/core'
import { TimeSlice } from '@diskgraph/core/internal'
import { runPool } from '../engine/pool.ts'
import { JobError } from '../engine/work.ts'
import type { Job } from '../job/job.ts'
import type { ErrorPolicy } from '../job/settings.ts'
import type { Units } from './units.ts'

/** What is copied, by whom. */
interface Pass {
  readonly job: Job
  readonly units: Units
  /** Counts a copy as a request of the job, so that drained sections wait for it. Default: its parts are requests. */
  readonly counted?: ((copy: () => Promise<void>) => Promise<void>) | undefined
  readonly workers: number
  /** Some passes end it with so many bytes dirty: guests may write faster than it copies. Default 0. */
  readonly enough?: number | undefined
  /** What has failed and is to be ignored is left out, and this hears of it. Default: it is tried again. */
  readonly leaveOut?: ((error: unknown) => void) | undefined
  /** What becomes of errors of a side. Without it they end the copy, and the job neither rests nor hears of its speed. */
  readonly policy?: ((side: 'source' | 'target') => ErrorPolicy) | undefined
}

interface Piece {
  readonly offset: number
  readonly length: number
}

/** Copies until nothing is dirty and nothing in flight. */
export async function copyDirty(pass: Pass): Promise<void> {
  const { units, workers, job, policy, counted = (copy) => copy() } = pass
  const copies = new InFlight()
  await runPool(pieces(pass, copies), workers, units.longest, (piece, buffer) =>
    copies.run(async () => {
      try {
        await counted(() => units.copy(piece.offset, piece.length, buffer))
      } catch (error) {
        if (copies.ended || job.signal.aborted || policy === undefined) throw error
        const source = error instanceof JobError && error.request.disk === 'source'
        const own = policy(source ? 'source' : 'target')
        if (!job.judge(error, source ? 'read' : 'write', own)) {
          copies.ended = true
          throw error
        }
        if (own === 'ignore' && pass.leaveOut !== undefined) {
          const before = units.dirty.dirtyBytes
          units.dirty.clear(piece.offset, piece.length)
          job.advance(before - units.dirty.dirtyBytes)
          pass.leaveOut(error)
        } else copies.failed = true
      } finally {
        job.setRemaining(units.dirty.dirtyBytes)
      }
    }),
  )
}

/** Passes over what is dirty until little of it is good enough. */
const patience = 8
/** Milliseconds until what has failed is tried again. */
export const retryAfter = 100

async function* pieces({ units, job, policy, enough = 0 }: Pass, copies: InFlight): AsyncGenerator<Piece> {
  const { dirty, longest } = units
  const slice = new TimeSlice(job.clock, policy === undefined ? undefined : job.signal)
  let passes = 0
  for (let at = 0; ; ) {
    await slice.end()
    if (policy !== undefined) await job.rest(() => copies.idle())
    let run = dirty.next(at, longest)
    if (run === undefined) {
      // Behind the last one: the rest, once nothing is in flight, is what was written or has failed meanwhile.
      await copies.idle()
      while (units.busy) await units.idle()
      if (copies.ended) return
      at = 0
      run = dirty.next(at, longest)
      if (run === undefined) return
      if (copies.failed) {
        // Storage that fails at once would be asked again and again, with an event each time.
        copies.failed = false
        passes = 0
        await job.pace.sleepFor(retryAfter)
      } else if (++passes > patience && dirty.dirtyBytes <= enough) return
      if (policy !== undefined) await job.rest()
    }
    job.pace.pay(run.length)
    yield run
    at = run.offset + run.length
  }
}

/** Marks what the layers of `root` down to `base`, or all of them, hold. */
export async function markPresent(
  job: Job,
  root: Disk,
  base: Node | undefined,
  marks: Pick<DirtyBitmap, 'size' | 'set'>,
): Promise<void> {
  for (let at = 0; at < marks.size; ) {
    await job.rest()
    const extent = await root.status(at, Math.min(marks.size - at, 2 ** 30), base, job.signal)
    if (extent === undefined) return
    if (extent.present) marks.set(at, extent.length)
    at += extent.length
  }
}

/** Counts what is in flight. */
class InFlight {
  /** Some of it has failed since this was last set to false. */
  failed = false
  /** An error has ended the copy: others in flight say nothing new, and no more begin. */
  ended = false
  readonly #all = new Set<Promise<void>>()

  async run(work: () => Promise<void>): Promise<void> {
    const one = work()
    this.#all.add(one)
    try {
      await one
    } finally {
      this.#all.delete(one)
    }
  }

  /** Resolves when nothing is. */
  async idle(): Promise<void> {
    while (this.#all.size > 0) await Promise.allSettled(this.#all)
  }
}
