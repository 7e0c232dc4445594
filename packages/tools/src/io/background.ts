/** Requests in the background, whose results are told only while something waits. */
export class Background {
  readonly #tell: (text: string) => void
  readonly #running = new Set<Promise<void>>()
  #held: string[] = []
  #waiting = 0

  constructor(tell: (text: string) => void) {
    this.#tell = tell
  }

  /** Takes over a request; `request` resolves to the text that tells its result, and does not reject. */
  start(request: Promise<string>): void {
    const running = request.then((text) => {
      this.#running.delete(running)
      if (this.#waiting > 0) this.#tell(text)
      else this.#held.push(text)
    })
    this.#running.add(running)
  }

  /** Runs something that waits; results that are there, or come meanwhile, are told. */
  async whileWaiting<T>(work: () => Promise<T>): Promise<T> {
    this.#waiting++
    try {
      const held = this.#held
      this.#held = []
      for (const text of held) this.#tell(text)
      return await work()
    } finally {
      this.#waiting--
    }
  }

  /** Waits until none is left. */
  finish(): Promise<void> {
    return this.whileWaiting(async () => {
      while (this.#running.size > 0) await Promise.all(this.#running)
    })
  }
}
