/** Events that come in floods reach clients once a second: the first at once, of those that follow the last one. */
import type { BlockEvent, Clock } from '@diskgraph/core'

const period = 1000

/** Events that the schema calls rate-limited, and what tells those apart that are limited on their own. */
const limited: Readonly<Record<string, (event: BlockEvent) => unknown>> = {
  QUORUM_REPORT_BAD: ({ data }) => data.nodeName,
  QUORUM_FAILURE: () => undefined,
}

/** See the top of the file. */
export class EventPace {
  readonly #clock: Clock
  readonly #tell: (event: BlockEvent) => void
  /** Periods that run, by what they are of, each with the event that is to be told at its end. */
  readonly #periods = new Map<string, { waiting: BlockEvent | undefined; cancel: () => void }>()

  constructor(clock: Clock, tell: (event: BlockEvent) => void) {
    this.#clock = clock
    this.#tell = tell
  }

  /** Tells of `event`, at once or when it is its turn. */
  take(event: BlockEvent): void {
    const distinction = limited[event.event]
    if (distinction === undefined) {
      this.#tell(event)
      return
    }
    const key = `${event.event} ${String(distinction(event))}`
    const running = this.#periods.get(key)
    if (running !== undefined) running.waiting = event
    else this.#begin(key, event)
  }

  /** What waits is not told any more. */
  close(): void {
    for (const { cancel } of this.#periods.values()) cancel()
    this.#periods.clear()
  }

  #begin(key: string, event: BlockEvent): void {
    this.#tell(event)
    const cancel = this.#clock.timeout(period, () => {
      const waiting = this.#periods.get(key)?.waiting
      this.#periods.delete(key)
      if (waiting !== undefined) this.#begin(key, waiting)
    })
    this.#periods.set(key, { waiting: undefined, cancel })
  }
}
