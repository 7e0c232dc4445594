/** The change lock of a graph: one change at a time, in the order they came. */
import type { Clock } from '../clock.ts'
import { unlessAborted } from '../errors.ts'

/** A change that has waited so many milliseconds is worth a word. */
const patience = 10_000

/** See the top of the file. */
export class ChangeLock {
  readonly #clock: Clock
  readonly #warn: (message: string) => void
  #last: Promise<void> = Promise.resolve()
  /** Changes that run or wait. */
  #count = 0

  constructor(clock: Clock, warn: (message: string) => void) {
    this.#clock = clock
    this.#warn = warn
  }

  /** Runs `work` when all that came before has ended. ECANCELED when `signal` is aborted before its turn. */
  run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const turn = this.#count === 0 ? this.#last : this.#watched(this.#last)
    this.#count++
    const result = this.#inTurn(turn, work, signal).finally(() => {
      this.#count--
    })
    // The next one waits for the turn itself, too: an aborted wait does not let anybody past the one before.
    const ended = result.then(nothing, nothing)
    this.#last = turn.then(() => ended)
    return result
  }

  /** `turn`, with a warning when it is long in coming. */
  #watched(turn: Promise<void>): Promise<void> {
    const cancel = this.#clock.timeout(patience, () =>
      this.#warn(
        `a change of the graph has waited ${patience / 1000} s for another one to end; ` +
          'inside of a change use the change: calls of the graph and of disks wait for its end',
      ),
    )
    return turn.finally(cancel)
  }

  async #inTurn<T>(turn: Promise<void>, work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    await unlessAborted(turn, signal)
    return work()
  }
}

function nothing(): void {}
