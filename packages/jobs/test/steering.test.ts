import type { Disk } from '@diskgraph/core'
import { Random, VirtualClock } from '@diskgraph/driver-testkit'
import { commit, compare, copy, copyStream, JobError, type JobOptions, rebase } from '@diskgraph/jobs'
import { describe, expect, it } from 'vitest'
import { type Stack, stack } from './stack.ts'

const mebibyte = 2 ** 20

/** A job over fresh disks whose storage is faulty; made before faults are counted. */
interface Job {
  run(options: JobOptions): Promise<unknown>
  /** What an error names. */
  readonly disks: readonly string[]
}

type MakeJob = (make: Stack) => Promise<Job>

async function filled(disk: Disk, seed: number, pieces: number): Promise<Disk> {
  const random = new Random(seed)
  for (let i = 0; i < pieces; i++) await disk.write(i * 3 * 65536, random.bytes(70_000))
  return disk
}

const size = 3 * mebibyte

async function chain(make: Stack): Promise<Disk> {
  await (await filled(await make.qcow2('base', { size }), 1, 4)).close()
  return filled(await make.qcow2('overlay', { size, backing: 'base', faulty: true }), 2, 3)
}

const jobs: Readonly<Record<string, MakeJob>> = {
  'copy from a faulty source': async (make) => {
    const source = await filled(await make.qcow2('source', { size, faulty: true }), 1, 6)
    const target = await make.qcow2('target', { size })
    return { run: (options) => copy(source, target, options), disks: ['source'] }
  },
  'copy to a faulty target': async (make) => {
    const source = await filled(await make.plain('source', size), 1, 6)
    const target = await make.plain('target', size, true)
    return { run: (options) => copy(source, target, options), disks: ['target'] }
  },
  commit: async (make) => {
    const overlay = await chain(make)
    return { run: (options) => commit(overlay, { ...options, keep: true }), disks: ['source', 'target'] }
  },
  rebase: async (make) => {
    const overlay = await chain(make)
    await (await filled(await make.qcow2('other', { size }), 1, 2)).close()
    const backing = await make.graph.open('memory:other', { format: 'qcow2', readOnly: true })
    const reference = { filename: 'memory:other', format: 'qcow2' }
    return { run: (options) => rebase(overlay, backing, reference, options), disks: ['source', 'target'] }
  },
  compare: async (make) => {
    const first = await filled(await make.qcow2('first', { size, faulty: true }), 1, 6)
    const second = await filled(await make.plain('second', size), 1, 6)
    return { run: (options) => compare(first, second, options), disks: ['first'] }
  },
}

describe.each(Object.entries(jobs))('%s', (_name, makeJob) => {
  /** The number of calls to the faulty storage that the job makes. */
  async function callsOf(): Promise<number> {
    const make = stack()
    await using _ = make.graph
    const job = await makeJob(make)
    make.faults.arm()
    await job.run({})
    return make.faults.calls
  }

  it('ends with ECANCELED wherever it is aborted, and nothing is in flight then', async () => {
    const calls = await callsOf()
    expect(calls).toBeGreaterThan(5)
    for (let nth = 1; nth <= calls; nth++) {
      const make = stack()
      await using _ = make.graph
      const job = await makeJob(make)
      const controller = new AbortController()
      make.faults.jitter = new Random(nth)
      make.faults.arm({ nth, onHit: () => controller.abort(new Error('enough')) })
      const outcome = await job.run({ signal: controller.signal }).then(
        () => undefined,
        (error: unknown) => error,
      )
      // What was under way when the last requests were made may have come to its end.
      if (outcome !== undefined) expect(outcome).toMatchObject({ code: 'ECANCELED', cause: new Error('enough') })
      const after = make.faults.calls
      await new Promise((resolve) => setTimeout(resolve))
      expect(make.faults.calls).toBe(after)
    }
  })

  it('does not begin when it is aborted already', async () => {
    const make = stack()
    await using _ = make.graph
    const job = await makeJob(make)
    make.faults.arm()
    await expect(job.run({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ECANCELED' })
    expect(make.faults.calls).toBe(0)
  })

  it('fails with the code of whatever call fails, and nothing is in flight then', async () => {
    const calls = await callsOf()
    for (let nth = 1; nth <= calls; nth++) {
      const make = stack()
      await using _ = make.graph
      const job = await makeJob(make)
      make.faults.jitter = new Random(nth)
      make.faults.arm({ nth, code: 'EDQUOT' })
      const outcome = await job.run({}).then(
        () => undefined,
        (error: unknown) => error,
      )
      const after = make.faults.calls
      await new Promise((resolve) => setTimeout(resolve))
      expect(make.faults.calls).toBe(after)
      if (make.faults.hits.length === 0) continue
      expect(outcome, make.faults.hits[0]?.kind).toMatchObject({ code: 'EDQUOT' })
      if (!(outcome instanceof JobError)) continue
      expect(job.disks).toContain(outcome.request.disk)
      expect(outcome.cause).toMatchObject({ code: 'EDQUOT' })
      expect(outcome.message).toContain(`the ${outcome.request.disk} at byte ${outcome.request.offset}: `)
    }
  })

  it('tells progress that never falls and ends at the total', async () => {
    const make = stack()
    await using _ = make.graph
    const job = await makeJob(make)
    const told: { done: number; total: number }[] = []
    await job.run({ onProgress: (progress) => told.push(progress) })
    expect(told.length).toBeGreaterThan(1)
    expect(told[0]?.done).toBe(0)
    const [total] = new Set(told.map((one) => one.total))
    expect(told.map((one) => one.total)).toEqual(told.map(() => total))
    expect(told.map((one) => one.done)).toEqual(told.map((one) => one.done).sort((a, b) => a - b))
    expect(told.at(-1)?.done).toBe(total)
    expect(total).toBeGreaterThan(0)
  })
})

describe('speed', () => {
  /** Virtual seconds that `job` takes. */
  async function secondsOf(job: (make: Stack) => Promise<unknown>): Promise<number> {
    const clock = new VirtualClock()
    const make = stack(clock)
    const seconds = async (): Promise<number> => {
      const begin = clock.now()
      await job(make)
      return (clock.now() - begin) / 1000
    }
    return clock.run(seconds(), () => undefined)
  }

  it.each([2 ** 16, mebibyte, 10 * mebibyte, 64 * mebibyte])(
    'of %i bytes per second is kept within 5 %',
    async (speed) => {
      const total = Math.min(speed * 20, 64 * mebibyte)
      const seconds = await secondsOf(async ({ plain }) => {
        const source = await plain('source', total)
        await source.write(0, new Uint8Array(total).fill(1))
        return copy(source, await plain('target', total), { speed })
      })
      expect(seconds).toBeGreaterThan((total / speed) * 0.95 - 0.1)
      expect(seconds).toBeLessThan((total / speed) * 1.05)
    },
  )

  it('counts data, not holes', async () => {
    const seconds = await secondsOf(async ({ plain }) => {
      const source = await plain('source', 2 ** 40)
      for (let i = 0; i < 50; i++) await source.write(i * 2 ** 34, new Uint8Array(mebibyte).fill(1))
      return copy(source, await plain('target', 2 ** 40), { speed: mebibyte })
    })
    expect(seconds).toBeGreaterThan(47.5)
    expect(seconds).toBeLessThan(52.5)
  })

  it('is not made up for after a long stop', async () => {
    const clock = new VirtualClock()
    const make = stack(clock)
    const copying = async (): Promise<number> => {
      const source = await make.plain('source', 20 * mebibyte, true)
      await source.write(0, new Uint8Array(source.size).fill(1))
      const target = await make.plain('target', source.size)
      let begin = 0
      let doneThen = 0
      let doneNow = 0
      const stop = (): void => {
        // Ten seconds in which nothing can be read.
        make.faults.hold('read')
        clock.timeout(10_000, () => {
          begin = clock.now()
          doneThen = doneNow
          make.faults.release()
        })
      }
      clock.timeout(2000, stop)
      const onProgress = ({ done }: { done: number }): void => {
        doneNow = done
      }
      await copy(source, target, { speed: mebibyte, parallel: 1, onProgress })
      return (doneNow - doneThen) / ((clock.now() - begin) / 1000) / mebibyte
    }
    const rate = await clock.run(copying(), () => undefined)
    expect(rate).toBeLessThan(1.05)
  })

  it('is kept by the other jobs, too', async () => {
    const total = 20 * mebibyte
    const compared = await secondsOf(async ({ plain }) => {
      const [first, second] = [await plain('first', total), await plain('second', total)]
      for (const disk of [first, second]) await disk.write(0, new Uint8Array(total).fill(1))
      return compare(first, second, { speed: mebibyte })
    })
    const committed = await secondsOf(async (make) => {
      await (await make.qcow2('base', { size: total })).close()
      const overlay = await make.qcow2('overlay', { size: total, backing: 'base' })
      await overlay.write(0, new Uint8Array(total).fill(1))
      return commit(overlay, { speed: mebibyte })
    })
    const rebased = await secondsOf(async (make) => {
      await (await make.qcow2('base', { size: total })).close()
      const overlay = await make.qcow2('overlay', { size: total, backing: 'base' })
      return rebase(overlay, undefined, { filename: undefined, format: undefined }, { speed: mebibyte })
    })
    for (const seconds of [compared, committed, rebased]) {
      expect(seconds).toBeGreaterThan(17.9)
      expect(seconds).toBeLessThan(21)
    }
  })
})

describe('a stream', () => {
  it('that is aborted ends with ECANCELED', async () => {
    const make = stack()
    await using _ = make.graph
    const controller = new AbortController()
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (let i = 0; ; i++) {
        if (i === 100) controller.abort()
        yield new Uint8Array(65536).fill(1)
      }
    }
    const target = await make.plain('target', 0)
    await expect(copyStream(endless(), target, { signal: controller.signal })).rejects.toMatchObject({
      code: 'ECANCELED',
    })
  })
})
