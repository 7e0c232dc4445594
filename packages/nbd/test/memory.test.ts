import { connect } from 'node:net'
import { expect, it } from 'vitest'
import { MemoryBudget, type MemoryUser } from '../src/server/memory.ts'
import { ManualClock } from './manual-clock.ts'
import { Peer, words } from './script-server.ts'
import { Served } from './served.ts'

const mib = 2 ** 20

class User implements MemoryUser {
  held = 0
  moved = 0
  awaitsClient = true
  expelled = false
  asked = 0
  readonly #budget: MemoryBudget

  constructor(budget: MemoryBudget) {
    this.#budget = budget
    budget.join(this)
  }

  take(bytes: number): boolean {
    const taken = this.#budget.take(bytes, this)
    if (taken) this.held += bytes
    return taken
  }

  give(bytes: number): void {
    this.held -= bytes
    this.#budget.give(bytes)
  }

  proceed(): void {
    this.asked++
  }

  expel(): void {
    this.expelled = true
    this.#budget.leave(this)
    this.#budget.give(this.held)
  }
}

it('whoever holds memory while others wait, and moves nothing, is ended; the others are not', () => {
  const clock = new ManualClock()
  const budget = new MemoryBudget(64 * mib, clock, 1000)
  const [silent, slow, busy, good] = Array.from({ length: 4 }, () => new User(budget)) as [User, User, User, User]
  for (const user of [silent, slow, busy]) expect(user.take(20 * mib)).toBe(true)
  busy.awaitsClient = false
  clock.pass(5000)
  expect(silent.expelled).toBe(false)
  expect(good.take(5 * mib)).toBe(false)
  slow.moved += mib
  clock.pass(1000)
  expect([silent, slow, busy, good].map(({ expelled }) => expelled)).toEqual([true, false, false, false])
  expect(good.asked).toBe(1)
  expect(good.take(5 * mib)).toBe(true)
})

it('however many come one after the other and read nothing, another one gets its turn in a few of their times', () => {
  const clock = new ManualClock()
  const budget = new MemoryBudget(256 * mib, clock, 10_000)
  class Reader extends User {
    readonly #bytes: number

    constructor(bytes: number) {
      super(budget)
      this.#bytes = bytes
      this.proceed()
    }

    override proceed(): void {
      this.take(this.#bytes)
    }

    /** Its memory is free when its requests have ended. */
    override expel(): void {
      ending.push(() => super.expel())
    }
  }
  const ending: (() => void)[] = []
  for (let i = 0; i < 80; i++) new Reader(32 * mib)
  const good = new Reader(8 * mib)
  let passed = 0
  for (; good.held === 0 && passed < 100_000; passed += 500) {
    clock.pass(500)
    for (const end of ending.splice(0)) end()
  }
  expect(passed).toBeLessThanOrEqual(30_000)
})

it('what becomes free goes to those who wait in the order of their coming: a long request is not passed by', () => {
  const budget = new MemoryBudget(64 * mib, new ManualClock(), 1000)
  const [greedy, fair, late] = Array.from({ length: 3 }, () => new User(budget)) as [User, User, User]
  for (const user of [greedy, greedy]) expect(user.take(32 * mib)).toBe(true)
  expect(fair.take(32 * mib)).toBe(false)
  expect([greedy.take(8 * mib), late.take(8 * mib)]).toEqual([false, false])
  greedy.give(8 * mib)
  expect([late.take(8 * mib), greedy.take(8 * mib), fair.take(32 * mib)]).toEqual([false, false, false])
  expect([fair.asked, greedy.asked, late.asked]).toEqual([1, 0, 0])
  greedy.give(24 * mib)
  expect([greedy.take(8 * mib), fair.take(32 * mib)]).toEqual([false, true])
  greedy.give(32 * mib)
  expect([late.take(8 * mib), greedy.take(8 * mib), late.take(8 * mib)]).toEqual([false, true, true])
})

it('a request for more than there is gets it when nobody holds anything, and keeps nobody from theirs for ever', () => {
  const budget = new MemoryBudget(8 * mib, new ManualClock(), 1000)
  const [one, large] = [new User(budget), new User(budget)]
  expect(one.take(4 * mib)).toBe(true)
  expect(large.take(32 * mib)).toBe(false)
  expect(one.take(2 * mib)).toBe(false)
  one.give(4 * mib)
  expect(large.take(32 * mib)).toBe(true)
  large.give(32 * mib)
  expect(one.take(2 * mib)).toBe(true)
})

it('one that gives up its wait lets those behind it proceed', () => {
  const budget = new MemoryBudget(8 * mib, new ManualClock(), 1000)
  const [one, large, small] = Array.from({ length: 3 }, () => new User(budget)) as [User, User, User]
  expect(one.take(4 * mib)).toBe(true)
  expect([large.take(8 * mib), small.take(2 * mib)]).toEqual([false, false])
  budget.giveUp(large)
  expect(small.asked).toBe(1)
  expect(small.take(2 * mib)).toBe(true)
})

it('a connection without requests gets memory for a small one, whatever others hold', () => {
  const budget = new MemoryBudget(8 * mib, new ManualClock(), 1000)
  const [greedy, good] = [new User(budget), new User(budget)]
  expect(greedy.take(8 * mib)).toBe(true)
  expect(good.take(mib)).toBe(true)
  expect(good.take(mib / 2)).toBe(false)
  expect(new User(budget).take(2 * mib)).toBe(false)
})

it('clients that never read, or announce payloads and do not send them, do not stop another one', async () => {
  await using served = await Served.start({ maxMemory: 16 * mib, stallTimeout: 100 }, {}, 8 * mib)
  const hostile = await Promise.all(Array.from({ length: 6 }, () => choose(served)))
  for (const [i, peer] of hostile.entries()) {
    peer.socket.pause()
    for (let times = 0; times < 8; times++) {
      peer.send(words([4, 0x25609513], [2, 0], [2, i % 2], [8, 7], [8, 0], [4, 8 * mib]))
    }
  }
  await using client = await served.client()
  await client.write(0, new Uint8Array(mib).fill(1))
  await Promise.all(Array.from({ length: 8 }, (_, i) => client.read(i * mib, new Uint8Array(mib))))
  const large = new Uint8Array(8 * mib)
  await client.read(0, large)
  expect([large[0], large[mib]]).toEqual([1, 0])
  expect(served.messages).toContainEqual(expect.stringContaining('while others wait for memory'))
})

it('memory of clients that were cut off is free before others get theirs', async () => {
  const maxMemory = 64 * mib
  const before = process.memoryUsage().rss
  let [left, peak] = [20, before]
  let finish = (): void => {}
  const finished = new Promise<void>((resolve) => {
    finish = resolve
  })
  const onMessage = (): void => {
    peak = Math.max(peak, process.memoryUsage().rss)
    if (--left === 0) finish()
  }
  await using served = await Served.start({ maxMemory, stallTimeout: 100, onMessage }, {}, 16 * mib)
  const hostile = await Promise.all(Array.from({ length: 24 }, () => choose(served)))
  for (const peer of hostile) {
    peer.socket.pause()
    for (let times = 0; times < 4; times++) {
      peer.send(words([4, 0x25609513], [2, 0], [2, 0], [8, 7], [8, 0], [4, 16 * mib]))
    }
  }
  await finished
  expect((peak - before) / mib).toBeLessThan(96)
})

/** A client that has chosen the export, without structured replies. */
async function choose(served: Served): Promise<Peer> {
  const peer = new Peer(connect({ path: served.path }))
  await peer.read(18)
  peer.send(words([4, 3]), Buffer.from('IHAVEOPT'), words([4, 1], [4, 0]))
  await peer.read(10)
  return peer
}
