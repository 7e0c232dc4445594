/** Counters of one root, with the fields of QAPI's BlockDeviceStats. */
import type { Clock } from '../clock.ts'

/** What is counted apart. Zeroes count as writes. */
export type RequestKind = 'read' | 'write' | 'flush' | 'discard'

/** Totals of one kind of request. */
export interface RequestTotals {
  readonly bytes: number
  readonly operations: number
  readonly failed: number
  /** Time spent in requests, those under way included, in nanoseconds. */
  readonly totalTimeNs: number
}

/** Counts requests of one kind. */
export class RequestCounter {
  bytes = 0
  operations = 0
  failed = 0
  #inFlight = 0
  /** Sum of ends minus sum of starts: no request has to remember when it began. */
  #time = 0
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Returns the time: when the request began. */
  start(length: number): number {
    this.bytes += length
    this.operations++
    this.#inFlight++
    const begin = this.#clock.now()
    this.#time -= begin
    return begin
  }

  end(): void {
    this.#inFlight--
    this.#time += this.#clock.now()
  }

  fail(): void {
    this.failed++
    this.end()
  }

  /** What has been counted so far. */
  totals(): RequestTotals {
    const running = this.#inFlight * this.#clock.now()
    return {
      bytes: this.bytes,
      operations: this.operations - this.#inFlight - this.failed,
      failed: this.failed,
      totalTimeNs: Math.round((this.#time + running) * 1e6),
    }
  }
}

/** Counts requests by kind; each start is paired with an end or a failure. */
export class Statistics {
  readonly read: RequestCounter
  readonly write: RequestCounter
  readonly flush: RequestCounter
  readonly discard: RequestCounter

  constructor(clock: Clock) {
    this.read = new RequestCounter(clock)
    this.write = new RequestCounter(clock)
    this.flush = new RequestCounter(clock)
    this.discard = new RequestCounter(clock)
  }
}
