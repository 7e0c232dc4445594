/** What a device has done, with the figures of QAPI's BlockDeviceStats. It outlives a change of the medium. */

import { BlockError, type Clock, type RequestKind } from '@diskgraph/core'
import { LatencyHistogram, type LatencyHistogramInfo } from './histogram.ts'
import { type TimedFigures, TimedStatistics } from './timed-statistics.ts'

/** Boundaries in nanoseconds for {@link Accounting.setHistograms}: `boundaries` for all kinds, the others for one. */
export interface HistogramBoundaries {
  readonly boundaries?: readonly number[]
  readonly boundariesRead?: readonly number[]
  readonly boundariesWrite?: readonly number[]
  readonly boundariesFlush?: readonly number[]
}

/** Figures of one kind of request. */
interface Figures {
  bytes: number
  operations: number
  failed: number
  invalid: number
  timeNs: number
  histogram: LatencyHistogram | undefined
}

/** QAPI's BlockDeviceStats. */
export interface DeviceStatistics {
  readonly rdBytes: number
  readonly wrBytes: number
  readonly unmapBytes: number
  readonly rdOperations: number
  readonly wrOperations: number
  readonly flushOperations: number
  readonly unmapOperations: number
  readonly rdTotalTimeNs: number
  readonly wrTotalTimeNs: number
  readonly flushTotalTimeNs: number
  readonly unmapTotalTimeNs: number
  /** End of the furthest write that the node has seen. */
  readonly wrHighestOffset: number
  readonly rdMerged: number
  readonly wrMerged: number
  readonly unmapMerged: number
  /** Time since the last request; left out when there was none. */
  readonly idleTimeNs?: number
  readonly failedRdOperations: number
  readonly failedWrOperations: number
  readonly failedFlushOperations: number
  readonly failedUnmapOperations: number
  readonly invalidRdOperations: number
  readonly invalidWrOperations: number
  readonly invalidFlushOperations: number
  readonly invalidUnmapOperations: number
  readonly accountInvalid: boolean
  readonly accountFailed: boolean
  readonly timedStats: readonly TimedFigures[]
  readonly rdLatencyHistogram?: LatencyHistogramInfo
  readonly wrLatencyHistogram?: LatencyHistogramInfo
  readonly flushLatencyHistogram?: LatencyHistogramInfo
}

/** Whether refused and failed requests count for the time of the last request, and failed ones for latencies; intervals of these. */
export interface AccountingSettings {
  readonly accountInvalid?: boolean
  readonly accountFailed?: boolean
  /** Seconds of which latencies are told, each from 1 to 2^32 - 1. Default: none. */
  readonly intervals?: readonly number[]
}

/** Counts the requests of a device. */
export class Accounting {
  readonly accountInvalid: boolean
  readonly accountFailed: boolean
  readonly #clock: Clock
  readonly #figures: Readonly<Record<RequestKind, Figures>> = {
    read: newFigures(),
    write: newFigures(),
    flush: newFigures(),
    discard: newFigures(),
  }
  readonly #timed: readonly TimedStatistics[]
  #last: number | undefined

  constructor(clock: Clock, settings: AccountingSettings = {}) {
    this.#clock = clock
    this.accountInvalid = settings.accountInvalid ?? true
    this.accountFailed = settings.accountFailed ?? true
    this.#timed = (settings.intervals ?? []).map((seconds) => new TimedStatistics(clock, seconds))
  }

  now(): number {
    return this.#clock.now()
  }

  done(kind: RequestKind, bytes: number, begin: number): void {
    const figures = this.#figures[kind]
    figures.bytes += bytes
    figures.operations++
    this.#took(kind, figures, begin)
  }

  failed(kind: RequestKind, begin: number): void {
    const figures = this.#figures[kind]
    figures.failed++
    if (this.accountFailed) this.#took(kind, figures, begin)
  }

  /** A request that was refused because of its arguments. */
  invalid(kind: RequestKind): void {
    this.#figures[kind].invalid++
    if (this.accountInvalid) this.#last = this.#clock.now()
  }

  /**
   * Starts histograms of latency, or ends those there are, if nothing is given; an empty list ends that of its kind.
   * `device` is for the message. EINVAL for boundaries that do not rise from above 0.
   */
  setHistograms(settings: HistogramBoundaries, device: string): void {
    const { boundaries, boundariesRead, boundariesWrite, boundariesFlush } = settings
    const given = [
      ['read', boundariesRead ?? boundaries],
      ['write', boundariesWrite ?? boundaries],
      ['flush', boundariesFlush ?? boundaries],
    ] as const
    const ending = given.every(([, list]) => list === undefined)
    const made = given.flatMap(([kind, list]) => {
      if (list === undefined) return ending ? [[kind, undefined] as const] : []
      return [[kind, list.length === 0 ? undefined : newHistogram(kind, list, device)] as const]
    })
    for (const [kind, histogram] of made) this.#figures[kind].histogram = histogram
  }

  /** All figures; `wrHighestOffset` is the node's. */
  statistics(wrHighestOffset: number): DeviceStatistics {
    const { read, write, flush, discard } = this.#figures
    return {
      rdBytes: read.bytes,
      wrBytes: write.bytes,
      unmapBytes: discard.bytes,
      rdOperations: read.operations,
      wrOperations: write.operations,
      flushOperations: flush.operations,
      unmapOperations: discard.operations,
      rdTotalTimeNs: Math.round(read.timeNs),
      wrTotalTimeNs: Math.round(write.timeNs),
      flushTotalTimeNs: Math.round(flush.timeNs),
      unmapTotalTimeNs: Math.round(discard.timeNs),
      wrHighestOffset,
      rdMerged: 0,
      wrMerged: 0,
      unmapMerged: 0,
      ...(this.#last === undefined ? {} : { idleTimeNs: Math.round((this.#clock.now() - this.#last) * 1e6) }),
      failedRdOperations: read.failed,
      failedWrOperations: write.failed,
      failedFlushOperations: flush.failed,
      failedUnmapOperations: discard.failed,
      invalidRdOperations: read.invalid,
      invalidWrOperations: write.invalid,
      invalidFlushOperations: flush.invalid,
      invalidUnmapOperations: discard.invalid,
      accountInvalid: this.accountInvalid,
      accountFailed: this.accountFailed,
      timedStats: this.#timed.map((timed) => timed.figures()),
      ...(read.histogram === undefined ? {} : { rdLatencyHistogram: read.histogram.info() }),
      ...(write.histogram === undefined ? {} : { wrLatencyHistogram: write.histogram.info() }),
      ...(flush.histogram === undefined ? {} : { flushLatencyHistogram: flush.histogram.info() }),
    }
  }

  #took(kind: RequestKind, figures: Figures, begin: number): void {
    const now = this.#clock.now()
    const ns = (now - begin) * 1e6
    this.#last = now
    figures.timeNs += ns
    figures.histogram?.add(ns)
    for (const timed of this.#timed) timed.add(kind, ns)
  }
}

function newFigures(): Figures {
  return { bytes: 0, operations: 0, failed: 0, invalid: 0, timeNs: 0, histogram: undefined }
}

function newHistogram(kind: string, boundaries: readonly number[], device: string): LatencyHistogram {
  try {
    return new LatencyHistogram(boundaries)
  } catch (cause) {
    throw new BlockError('EINVAL', `Device '${device}' set ${kind} boundaries fail`, { cause })
  }
}
