/** The change lock of a graph: one change at a time, in the order they came. */
import { abortedError } from './errors.ts'

/** See the top of the file. */
export class ChangeLock {
  #last: Promise<void> = Promise.resolve()

  /** Runs `work` when all that came before has ended. ECANCELED when `signal` is aborted before its turn. */
  run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const turn = this.#last
    const result = this.#inTurn(turn, work, signal)
    // The next one waits for the turn itself, too: an aborted wait does not let anybody past the one before.
    const ended = result.then(nothing, nothing)
    this.#last = turn.then(() => ended)
    return result
  }

  async #inTurn<T>(turn: Promise<void>, work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    if (signal !== undefined) await turnOrAbort(turn, signal)
    else await turn
    return work()
  }
}

function nothing(): void {}

function turnOrAbort(turn: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(abortedError(signal))
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort, { once: true })
    turn.then(() => {
      signal.removeEventListener('abort', abort)
      resolve()
    })
  })
}
