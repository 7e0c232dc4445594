/**
 * What runs at the same time: a mutex for what takes turns, a pool of requests that are waited for together, and long
 * walks that let others run.
 */
import { done, systemClock, throwIfAborted } from '@diskgraph/core/driver'

/**
 * A FIFO mutex whose uncontended path allocates nothing:
 *
 *     const wait = mutex.lock()
 *     if (wait !== undefined) await wait
 *     try { … } finally { mutex.unlock() }
 */
export class Mutex {
  private held = false
  private readonly waiting: (() => void)[] = []

  /** Takes the mutex: at once (undefined), or when the returned promise resolves. */
  lock(): Promise<void> | undefined {
    if (!this.held) {
      this.held = true
      return undefined
    }
    return new Promise((resolve) => {
      this.waiting.push(resolve)
    })
  }

  /** Hands the mutex to the next in line. */
  unlock(): void {
    const next = this.waiting.shift()
    if (next === undefined) this.held = false
    else next()
  }
}

/** Keeps others waiting while something runs. */
export class Gate {
  /** Resolves when the gate is open again; undefined while it is. */
  shut: Promise<void> | undefined

  /** Shuts the gate until `work` has ended. One at a time. */
  async whileShut(work: () => Promise<void>): Promise<void> {
    let open: () => void = () => undefined
    this.shut = new Promise((resolve) => {
      open = resolve
    })
    try {
      await work()
    } finally {
      this.shut = undefined
      open()
    }
  }
}

/** Runs `work` on every item with at most `limit` at a time; starts no more after an error, and waits for all. */
export async function forEachLimited<Item>(
  items: readonly Item[],
  limit: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const pool = new TaskPool()
  for (const item of items) {
    if (pool.pending >= limit) await pool.below(limit)
    if (pool.failed) break
    try {
      pool.add(work(item))
    } catch (error) {
      pool.fail(error)
    }
  }
  return pool.finish()
}

/**
 * Requests that are started one after the other and waited for together: all of them settle before the first error is
 * reported. Requests that are done cost nothing.
 */
export class TaskPool {
  private active = 0
  private broken = false
  private error: unknown
  private wake: (() => void) | undefined

  /** Whether a request has failed already, so that starting more is of no use. */
  get failed(): boolean {
    return this.broken
  }

  /** How many requests are on their way. */
  get pending(): number {
    return this.active
  }

  add(request: Promise<unknown>): void {
    if (request === done) return
    this.active++
    request.then(
      () => this.finished(),
      (error) => {
        this.fail(error)
        this.finished()
      },
    )
  }

  /** Remembers an error that happened while requests were being started. */
  fail(error: unknown): void {
    if (this.broken) return
    this.broken = true
    this.error = error
  }

  /** Resolves when fewer than `limit` requests are on their way. */
  async below(limit: number): Promise<void> {
    while (this.active >= limit) {
      await new Promise<void>((resolve) => {
        this.wake = resolve
      })
    }
  }

  /** Resolves when all requests have settled; rejects with the first error there was. */
  async finish(): Promise<void> {
    await this.below(1)
    if (this.broken) throw this.error
  }

  private finished(): void {
    this.active--
    const { wake } = this
    this.wake = undefined
    wake?.()
  }
}

/** A walk goes on for so many milliseconds before it yields. */
const longestTurn = 12
/** The clock is looked at every so many units of work; one is what takes about 100 ns. */
const unitsPerLook = 10_000

/**
 * Lets a long walk through tables in memory yield: now and then everybody else gets a turn, and whoever wants the
 * walk to end is heard. A walk that is over at once costs a counter. What counts is real time, whatever clock a graph has.
 */
export class Yielder {
  private readonly signal: AbortSignal | undefined
  private units = 0
  private since = systemClock.now()

  constructor(signal?: AbortSignal) {
    this.signal = signal
  }

  /** Call it with the work done since the last call; wait for what it returns. Rejects when the signal is aborted. */
  step(units = 1): Promise<void> | undefined {
    this.units += units
    if (this.units < unitsPerLook) return undefined
    this.units = 0
    return systemClock.now() - this.since < longestTurn ? undefined : this.yield()
  }

  private async yield(): Promise<void> {
    throwIfAborted(this.signal)
    await systemClock.turn()
    this.since = systemClock.now()
    throwIfAborted(this.signal)
  }
}
