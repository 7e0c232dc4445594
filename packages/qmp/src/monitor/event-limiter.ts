/**
 * Some events come as often as requests fail. Of these one per second and subject is told: the first at once, and of those
 * that come within a second after it the last, when the second is over. Which they are says QEMU's documentation.
 */
import type { BlockEvent, Clock } from '@diskgraph/core'

/** What tells subjects apart, by event. */
const limited: Readonly<Record<string, (event: BlockEvent) => unknown>> = {
  QUORUM_FAILURE: ({ data }) => (data as { readonly reference?: unknown }).reference,
  QUORUM_REPORT_BAD: ({ nodeName, data }) => (data as { readonly nodeName?: unknown }).nodeName ?? nodeName,
}

const interval = 1000

/** An event, and when it was, in milliseconds after the epoch. */
interface Occurrence {
  readonly event: BlockEvent
  readonly time: number
}

interface Second {
  last: Occurrence | undefined
  cancel(): void
}

/** See the top of the file. */
export class EventLimiter {
  readonly #clock: Clock
  readonly #tell: (event: BlockEvent, time: number) => void
  readonly #seconds = new Map<string, Second>()

  constructor(clock: Clock, tell: (event: BlockEvent, time: number) => void) {
    this.#clock = clock
    this.#tell = tell
  }

  /** Tells of an event that happens now, or keeps it for later. */
  offer(event: BlockEvent): void {
    const time = this.#clock.wallTime()
    const subject = Object.hasOwn(limited, event.event) ? limited[event.event]?.(event) : undefined
    if (subject === undefined) {
      this.#tell(event, time)
      return
    }
    const key = `${event.event} ${String(subject)}`
    const second = this.#seconds.get(key)
    if (second === undefined) this.#begin(key, { event, time })
    else second.last = { event, time }
  }

  /** What is kept is told no more. */
  close(): void {
    for (const { cancel } of this.#seconds.values()) cancel()
    this.#seconds.clear()
  }

  #begin(key: string, { event, time }: Occurrence): void {
    const cancel = this.#clock.timeout(interval, () => {
      const last = this.#seconds.get(key)?.last
      this.#seconds.delete(key)
      if (last !== undefined) this.#begin(key, last)
    })
    this.#seconds.set(key, { last: undefined, cancel })
    this.#tell(event, time)
  }
}
