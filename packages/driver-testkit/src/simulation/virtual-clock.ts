/**
 * Virtual time. Nothing waits for real: when every promise that can go on has gone on, the clock jumps to the next
 * moment that somebody waits for. With a seeded source of chance the same program runs the same way every time.
 */
import type { Clock } from '@diskgraph/core/driver'

interface Wake {
  readonly at: number
  readonly order: number
  readonly call: () => void
}

/** So many real pauses of 10 ms, before nothing is expected any more. */
const patience = 100

/** See the top of the file. Times are milliseconds from 0. */
export class VirtualClock implements Clock {
  #time = 0
  #order = 0
  /** A heap by time, then by order of asking. */
  readonly #heap: Wake[] = []
  readonly #cancelled = new Set<Wake>()

  now(): number {
    return this.#time
  }

  wallTime(): number {
    return 1_700_000_000_000 + Math.floor(this.#time)
  }

  timeout(ms: number, wake: () => void): () => void {
    const entry = { at: this.#time + Math.max(0, ms), order: this.#order++, call: wake }
    this.#push(entry)
    return () => this.#cancelled.add(entry)
  }

  interval(): () => void {
    // What only tidies up now and then has nothing to do with the order of requests.
    return () => undefined
  }

  turn(): Promise<void> {
    return new Promise((resolve) => this.timeout(0, resolve))
  }

  /**
   * Lets `work` run to its end. Calls `look` before each jump; throws when nobody waits for a moment although `work`
   * has not ended.
   */
  async run<T>(work: Promise<T>, look: () => void): Promise<T> {
    let ended = false
    const mark = (): void => {
      ended = true
    }
    work.then(mark, mark)
    for (;;) {
      await realTurn()
      if (ended) return work
      look()
      let next = this.#pop()
      // Code that is loaded when it is first needed takes real time.
      for (let i = 0; next === undefined && i < patience; i++) {
        await new Promise((resolve) => setTimeout(resolve, 10))
        if (ended) return work
        next = this.#pop()
      }
      if (next === undefined) throw new Error(`stuck at ${this.#time} ms: nothing is waited for, and work is left`)
      this.#time = next.at
      next.call()
    }
  }

  #pop(): Wake | undefined {
    for (;;) {
      const [first] = this.#heap
      if (first === undefined) return undefined
      const last = this.#heap.pop() as Wake
      if (this.#heap.length > 0) this.#sink(last)
      if (!this.#cancelled.delete(first)) return first
    }
  }

  #push(entry: Wake): void {
    const heap = this.#heap
    let i = heap.length
    for (; i > 0; ) {
      const parent = (i - 1) >> 1
      if (!isBefore(entry, heap[parent] as Wake)) break
      heap[i] = heap[parent] as Wake
      i = parent
    }
    heap[i] = entry
  }

  #sink(entry: Wake): void {
    const heap = this.#heap
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Wake, heap[child] as Wake)) child++
      if (!isBefore(heap[child] as Wake, entry)) break
      heap[i] = heap[child] as Wake
      i = child
    }
    heap[i] = entry
  }
}

function isBefore(a: Wake, b: Wake): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

/** Ends when every promise that could go on has gone on. */
function realTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
