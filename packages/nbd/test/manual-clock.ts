/** A clock that stands still until a test lets time pass. */
import type { Clock } from '@diskgraph/core'

export class ManualClock implements Clock {
  #now = 0
  readonly #timers = new Set<{ readonly at: number; readonly wake: () => void }>()

  now(): number {
    return this.#now
  }

  wallTime(): number {
    return this.#now
  }

  timeout(ms: number, wake: () => void): () => void {
    const timer = { at: this.#now + ms, wake }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  interval(): () => void {
    return () => {}
  }

  turn(): Promise<void> {
    return Promise.resolve()
  }

  pass(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      const due = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0]
      if (due === undefined) break
      this.#timers.delete(due)
      this.#now = due.at
      due.wake()
    }
    this.#now = end
  }
}
