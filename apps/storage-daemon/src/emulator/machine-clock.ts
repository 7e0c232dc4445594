/** The clock of a machine: that of the system, which a test may step forward (`-qtest`). */
import { type Clock, systemClock } from '@diskgraph/core'

interface Timer {
  readonly due: number
  readonly wake: () => void
  readonly cancel: () => void
}

/** See the top of the file. */
export class MachineClock implements Clock {
  readonly #timers = new Set<Timer>()
  /** Milliseconds that it was stepped forward. */
  #ahead = 0

  now(): number {
    return systemClock.now() + this.#ahead
  }

  wallTime(): number {
    return systemClock.wallTime()
  }

  timeout(ms: number, wake: () => void): () => void {
    const forget = (): void => {
      timer.cancel()
      this.#timers.delete(timer)
    }
    const end = (): void => {
      forget()
      wake()
    }
    const timer: Timer = { due: this.now() + ms, wake: end, cancel: systemClock.timeout(ms, end) }
    this.#timers.add(timer)
    return forget
  }

  interval(ms: number, tick: () => void): () => void {
    return systemClock.interval(ms, tick)
  }

  turn(): Promise<void> {
    return systemClock.turn()
  }

  /** Steps forward by `ms`, or to the next timer, and wakes what is due in its order. */
  step(ms: number | undefined): void {
    const first = Math.min(...[...this.#timers].map(({ due }) => due))
    this.#ahead += ms ?? (first === Number.POSITIVE_INFINITY ? 0 : Math.max(0, first - this.now()))
    const now = this.now()
    const due = [...this.#timers].filter((timer) => timer.due <= now).sort((a, b) => a.due - b.due)
    for (const timer of due) if (this.#timers.has(timer)) timer.wake()
  }
}
