import { Random, randomSeed, VirtualClock } from '@diskgraph/driver-testkit'
import { type BucketName, ThrottleGroup, type ThrottleLimits, type ThrottleMember } from '@diskgraph/throttle'
import { describe, expect, it } from 'vitest'

type Direction = 'read' | 'write'
const seed = randomSeed()

/** Virtual time, a group in it, and guests that ask it as fast as it lets them. */
class Bench {
  readonly clock = new VirtualClock()
  readonly group: ThrottleGroup

  constructor(limits: Partial<ThrottleLimits>) {
    this.group = new ThrottleGroup({ clock: this.clock, limits })
  }

  run<T>(work: () => Promise<T>): Promise<T> {
    return this.clock.run(work(), () => undefined)
  }

  pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.clock.timeout(ms, resolve))
  }

  /** Requests of `size` bytes, one after the other, until `end`; how many were let go. */
  async guest(member: ThrottleMember, end: number, size: number, direction: Direction = 'read'): Promise<number> {
    const ending = new AbortController()
    this.clock.timeout(end - this.clock.now(), () => ending.abort())
    let count = 0
    while (this.clock.now() < end) {
      const wait = member.admit(direction, size, ending.signal)
      if (wait !== undefined && !(await wait.then(isTrue, isFalse))) return count
      count++
    }
    return count
  }

  async total(end: number, size: number, guests: readonly Direction[]): Promise<number> {
    const counts = guests.map((direction) => this.guest(this.group.join(), end, size, direction))
    return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0)
  }
}

const isTrue = (): boolean => true
const isFalse = (): boolean => false

describe(`rates (seed ${seed})`, () => {
  it.each<[BucketName, Direction]>([
    ['iopsTotal', 'read'],
    ['iopsRead', 'read'],
    ['iopsWrite', 'write'],
  ])('%s holds operations to its rate within 5 % over 10 s', async (name, direction) => {
    const random = new Random(seed)
    for (let i = 0; i < 8; i++) {
      const rate = random.between(20, 1500)
      const bench = new Bench({ [name]: rate })
      const guests = Array.from({ length: random.between(1, 4) }, () => direction)
      const count = await bench.run(() => bench.total(10_000, 512, guests))
      expect(Math.abs(count - rate * 10), `${rate} per second`).toBeLessThanOrEqual(rate * 10 * 0.05)
    }
  })

  it.each<[BucketName, Direction]>([
    ['bpsTotal', 'write'],
    ['bpsRead', 'read'],
    ['bpsWrite', 'write'],
  ])('%s holds bytes to its rate within 5 % over 10 s', async (name, direction) => {
    const random = new Random(seed)
    for (let i = 0; i < 8; i++) {
      const rate = random.between(100_000, 10_000_000)
      const size = random.between(Math.floor(rate / 1000), Math.floor(rate / 50))
      const bench = new Bench({ [name]: rate })
      const bytes = size * (await bench.run(() => bench.total(10_000, size, [direction])))
      expect(Math.abs(bytes - rate * 10), `${rate} per second by ${size}`).toBeLessThanOrEqual(rate * 10 * 0.05)
    }
  })

  it('a limit of reads leaves writes alone, and none leaves all alone', () => {
    const { group } = new Bench({ iopsRead: 1 })
    const member = group.join()
    for (let i = 0; i < 100; i++) expect(member.admit('write', 512)).toBeUndefined()
    expect(new Bench({}).group.join().admit('read', 2 ** 40)).toBeUndefined()
  })

  it('a burst of length 1 goes at once, then the average holds', async () => {
    const bench = new Bench({ iopsTotal: 100, iopsTotalMax: 1000 })
    expect(await bench.run(() => bench.total(0.5, 512, ['read']))).toBeCloseTo(1001, -1)
    const later = await bench.run(() => bench.total(10_000, 512, ['read']))
    expect(later).toBeGreaterThan(950)
    expect(later).toBeLessThan(1050)
  })

  it('a longer burst goes at its rate for its length, and may be repeated after a rest', async () => {
    const bench = new Bench({ iopsTotal: 100, iopsTotalMax: 1000, iopsTotalMaxLength: 5 })
    const burst = await bench.run(() => bench.total(5000, 512, ['read']))
    expect(Math.abs(burst - 5000)).toBeLessThanOrEqual(250)
    // What leaked meanwhile may go at that rate, too; after that only the average does.
    await bench.run(() => bench.total(6000, 512, ['read']))
    const after = await bench.run(() => bench.total(16_000, 512, ['read']))
    expect(Math.abs(after - 1000)).toBeLessThanOrEqual(50)
    await bench.run(() => bench.pause(60_000))
    const again = await bench.run(() => bench.total(81_000, 512, ['read']))
    expect(Math.abs(again - 5000)).toBeLessThanOrEqual(250)
  })

  it('a request of more than iopsSize bytes counts as several', async () => {
    const bench = new Bench({ iopsTotal: 100, iopsSize: 4096 })
    const count = await bench.run(() => bench.total(10_000, 16_384, ['write']))
    expect(Math.abs(count - 250)).toBeLessThanOrEqual(12)
  })

  it('reads and writes that share a total both get their half', async () => {
    const bench = new Bench({ iopsTotal: 200 })
    const [reads, writes] = await bench.run(() =>
      Promise.all([
        bench.guest(bench.group.join(), 10_000, 512, 'read'),
        bench.guest(bench.group.join(), 10_000, 512, 'write'),
      ]),
    )
    expect(Math.abs((reads ?? 0) - (writes ?? 0))).toBeLessThanOrEqual(25)
  })

  it('members get equal shares, however many requests one of them has in line', async () => {
    const random = new Random(seed)
    for (let i = 0; i < 5; i++) {
      const bench = new Bench({ iopsTotal: 500 })
      const depths = Array.from({ length: random.between(2, 5) }, () => random.between(1, 32))
      const counts = await bench.run(() =>
        Promise.all(
          depths.map(async (depth) => {
            const member = bench.group.join()
            const guests = Array.from({ length: depth }, () => bench.guest(member, 10_000, 512))
            return (await Promise.all(guests)).reduce((sum, count) => sum + count, 0)
          }),
        ),
      )
      // Who comes first finds the bucket empty: that tenth of a second is nobody's share.
      const [least, most] = [Math.min(...counts.slice(1)), Math.max(...counts.slice(1))]
      expect(most - least, `${depths} got ${counts}`).toBeLessThanOrEqual(2)
      expect((counts[0] as number) - most, `${depths} got ${counts}`).toBeLessThanOrEqual(52)
    }
  })
})

describe('requests that wait', () => {
  /** A group of one operation per second whose bucket is full, and a member. */
  function full(): { bench: Bench; member: ThrottleMember } {
    const bench = new Bench({ iopsTotal: 1 })
    const member = bench.group.join()
    expect(member.admit('read', 512)).toBeUndefined()
    return { bench, member }
  }

  it('go in the order of asking', async () => {
    const { bench, member } = full()
    const order: number[] = []
    await bench.run(() => Promise.all([1, 2, 3].map((i) => member.admit('read', 512)?.then(() => order.push(i)))))
    expect(order).toEqual([1, 2, 3])
    expect(bench.clock.now()).toBeCloseTo(2900, 0)
  })

  it('end with their signal, and those behind them do not wait longer', async () => {
    const { bench, member } = full()
    const ending = new AbortController()
    const first = member.admit('read', 512, ending.signal)
    const second = member.admit('read', 512)
    ending.abort(new Error('enough'))
    await expect(first).rejects.toMatchObject({ code: 'ECANCELED' })
    await bench.run(async () => second)
    expect(bench.clock.now()).toBeCloseTo(900, 0)
  })

  it('refuses a signal that is aborted already', async () => {
    const { member } = full()
    await expect(member.admit('read', 512, AbortSignal.abort())).rejects.toMatchObject({ code: 'ECANCELED' })
  })

  it('leaves no timer when the last of them is aborted', async () => {
    const { bench, member } = full()
    const ending = new AbortController()
    const wait = member.admit('read', 512, ending.signal)
    ending.abort()
    await expect(wait).rejects.toMatchObject({ code: 'ECANCELED' })
    await expect(bench.run(() => new Promise(() => undefined))).rejects.toThrow('stuck')
  })

  it('go at once when the limits are taken away', async () => {
    const { bench, member } = full()
    const waits = [member.admit('read', 512), member.admit('write', 512)]
    bench.group.set({})
    await Promise.all(waits)
    expect(bench.clock.now()).toBe(0)
  })

  it('go by new limits when these change', async () => {
    const { bench, member } = full()
    const waits = [1, 2, 3, 4].map(() => member.admit('read', 512))
    bench.group.change({ iopsTotal: 2 })
    await bench.run(() => Promise.all(waits))
    expect(bench.clock.now()).toBeGreaterThan(900)
    expect(bench.clock.now()).toBeLessThan(2000)
  })

  it('go when their member is drained, and are counted', async () => {
    const { bench, member } = full()
    const other = bench.group.join()
    const waits = [member.admit('read', 512), member.admit('read', 512)]
    member.drainBegin()
    await Promise.all(waits)
    expect(member.admit('read', 512)).toBeUndefined()
    member.drainEnd()
    expect(bench.clock.now()).toBe(0)
    await bench.run(async () => other.admit('read', 512))
    expect(bench.clock.now()).toBeCloseTo(3900, 0)
  })

  it('go when their member leaves', async () => {
    const { bench, member } = full()
    const wait = member.admit('read', 512)
    expect(bench.group.inUse).toBe(true)
    member.leave()
    await wait
    expect(bench.group.inUse).toBe(false)
  })

  it('of other members go on while one is drained', async () => {
    const { bench, member } = full()
    const other = bench.group.join()
    const wait = other.admit('read', 512)
    member.drainBegin()
    await bench.run(async () => wait)
    expect(bench.clock.now()).toBeCloseTo(900, 0)
  })
})
