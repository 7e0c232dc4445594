/** Calls to a server that have no answer yet, and for how long they may have none. */
import { BlockError, type Clock } from '@diskgraph/core/driver'

/**
 * Milliseconds that a server may take for the oldest call. Others wait behind it, and begin to count when it is
 * answered: so a slow line is given the time that it needs, and an answer that never comes is missed.
 */
const answerTimeout = 60_000

/** See the top of this file. What fails once fails all that come later. */
export class Calls {
  readonly #clock: Clock
  /** Those that wait, the oldest first. */
  readonly #waiting = new Set<(error: Error) => void>()
  readonly #end: () => void
  /** Since when the oldest one is that. */
  #since = 0
  #cancel: (() => void) | undefined
  #lost: BlockError | undefined

  /** `end`: called when the connection is lost. */
  constructor(clock: Clock, end: () => void) {
    this.#clock = clock
    this.#end = end
  }

  /** One call. `explain` makes the error of an answer that is one; undefined: it is no answer, and the connection is lost. */
  begin<T>(
    start: (done: (error: Error | undefined | null, result: T) => void) => void,
    explain: (error: Error) => Error | undefined,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#lost !== undefined) {
        reject(this.#lost)
        return
      }
      this.#wait(reject)
      try {
        start((error, result) => {
          this.#answered(reject)
          if (!error) resolve(result)
          else reject(explain(error) ?? this.lose(error.message))
        })
      } catch (error) {
        this.#answered(reject)
        throw error
      }
    })
  }

  /** Fails all calls; the error of the first loss. */
  lose(reason: string): BlockError {
    return this.#lose(() => new BlockError('ECONNRESET', `lost the connection to the server: ${reason}`))
  }

  #lose(errorOf: () => BlockError): BlockError {
    if (this.#lost !== undefined) return this.#lost
    const lost = errorOf()
    this.#lost = lost
    this.#cancel?.()
    for (const fail of this.#waiting) fail(lost)
    this.#waiting.clear()
    this.#end()
    return lost
  }

  #wait(fail: (error: Error) => void): void {
    if (this.#waiting.size === 0) this.#since = this.#clock.now()
    this.#waiting.add(fail)
    this.#cancel ??= this.#clock.timeout(answerTimeout, this.#look)
  }

  #answered(fail: (error: Error) => void): void {
    const [oldest] = this.#waiting
    if (fail === oldest) this.#since = this.#clock.now()
    this.#waiting.delete(fail)
  }

  readonly #look = (): void => {
    this.#cancel = undefined
    if (this.#waiting.size === 0) return
    const left = this.#since + answerTimeout - this.#clock.now()
    if (left > 0.5) this.#cancel = this.#clock.timeout(left, this.#look)
    else {
      const hint = 'open the node again; the server may be stuck, or be none that speaks SFTP'
      const text = `the server has not answered within ${answerTimeout / 1000} s`
      this.#lose(() => new BlockError('ETIMEDOUT', text, { hint }))
    }
  }
}
