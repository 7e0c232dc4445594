/**
 * Latencies of the last so many seconds. An interval is cut into slices, and those that have passed are forgotten: what is told
 * covers the interval but for a slice of it.
 */
import { BlockError, type Clock, type RequestKind } from '@diskgraph/core'

const slices = 10

/** QAPI's BlockDeviceTimedStats. Zero where there was no request. */
export interface TimedFigures {
  /** Seconds. */
  readonly intervalLength: number
  readonly minRdLatencyNs: number
  readonly maxRdLatencyNs: number
  readonly avgRdLatencyNs: number
  readonly minWrLatencyNs: number
  readonly maxWrLatencyNs: number
  readonly avgWrLatencyNs: number
  readonly minFlushLatencyNs: number
  readonly maxFlushLatencyNs: number
  readonly avgFlushLatencyNs: number
  /** How many requests were under way on average. */
  readonly avgRdQueueDepth: number
  readonly avgWrQueueDepth: number
}

interface Sums {
  count: number
  sum: number
  min: number
  max: number
}

/** See the top of the file. */
export class TimedStatistics {
  readonly #seconds: number
  readonly #clock: Clock
  readonly #start: number
  readonly #slices: Map<RequestKind, Sums>[] = []
  /** The number of the newest slice, counted from the start. */
  #newest = 0

  /** EINVAL for an interval that is no whole number of seconds from 1 to 2^32 - 1. */
  constructor(clock: Clock, seconds: number) {
    if (!(Number.isInteger(seconds) && seconds > 0 && seconds < 2 ** 32)) {
      throw new BlockError('EINVAL', `Invalid interval length: ${seconds}`)
    }
    this.#seconds = seconds
    this.#clock = clock
    this.#start = clock.now()
    for (let i = 0; i < slices; i++) this.#slices.push(new Map())
  }

  /** A request has taken `ns` nanoseconds. */
  add(kind: RequestKind, ns: number): void {
    this.#forget()
    const slice = this.#slices[this.#newest % slices] as Map<RequestKind, Sums>
    const sums = slice.get(kind)
    if (sums === undefined) slice.set(kind, { count: 1, sum: ns, min: ns, max: ns })
    else add(sums, { count: 1, sum: ns, min: ns, max: ns })
  }

  figures(): TimedFigures {
    this.#forget()
    const [read, write, flush] = [this.#total('read'), this.#total('write'), this.#total('flush')]
    const covered = Math.min(this.#seconds * 1000, this.#clock.now() - this.#start) * 1e6
    const average = ({ sum, count }: Sums): number => (count === 0 ? 0 : Math.round(sum / count))
    const depth = ({ sum }: Sums): number => (covered === 0 ? 0 : sum / covered)
    return {
      intervalLength: this.#seconds,
      minRdLatencyNs: Math.round(read.min),
      maxRdLatencyNs: Math.round(read.max),
      avgRdLatencyNs: average(read),
      minWrLatencyNs: Math.round(write.min),
      maxWrLatencyNs: Math.round(write.max),
      avgWrLatencyNs: average(write),
      minFlushLatencyNs: Math.round(flush.min),
      maxFlushLatencyNs: Math.round(flush.max),
      avgFlushLatencyNs: average(flush),
      avgRdQueueDepth: depth(read),
      avgWrQueueDepth: depth(write),
    }
  }

  #total(kind: RequestKind): Sums {
    const total = { count: 0, sum: 0, min: 0, max: 0 }
    for (const slice of this.#slices) {
      const sums = slice.get(kind)
      if (sums !== undefined) add(total, sums)
    }
    return total
  }

  /** Empties the slices that have begun since. */
  #forget(): void {
    const now = Math.floor((this.#clock.now() - this.#start) / ((this.#seconds * 1000) / slices))
    const begun = Math.min(slices, now - this.#newest)
    for (let i = 0; i < begun; i++) this.#slices[(now - i) % slices]?.clear()
    this.#newest = now
  }
}

function add(total: Sums, { count, sum, min, max }: Sums): void {
  total.min = total.count === 0 ? min : Math.min(total.min, min)
  total.max = Math.max(total.max, max)
  total.count += count
  total.sum += sum
}
