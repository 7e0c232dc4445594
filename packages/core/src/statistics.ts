/** Counters of one root, with the fields of QAPI's BlockDeviceStats. */
const now = (): number => performance.now()

/** Totals of one kind of request. */
export interface RequestTotals {
  readonly bytes: number
  readonly operations: number
  readonly failed: number
  /** Time spent in completed requests, in nanoseconds. */
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

  start(length: number): void {
    this.bytes += length
    this.operations++
    this.#inFlight++
    this.#time -= now()
  }

  end(): void {
    this.#inFlight--
    this.#time += now()
  }

  fail(): void {
    this.failed++
    this.end()
  }

  /** What has been counted so far. */
  totals(): RequestTotals {
    const running = this.#inFlight * now()
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
  readonly read = new RequestCounter()
  readonly write = new RequestCounter()
  readonly flush = new RequestCounter()
  readonly discard = new RequestCounter()
}
