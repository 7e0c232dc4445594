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

  /** Whether somebody holds it. */
  get locked(): boolean {
    return this.held
  }

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
