/**
 * The pace of a long walk through tables in memory: now and then everybody else gets a turn, and whoever wants the
 * walk to end is heard. A walk that is over at once costs a counter. What counts is real time, whatever clock a graph has.
 */
import { systemClock, throwIfAborted } from '@diskgraph/core/driver'

/** A walk goes on for so many milliseconds before it gives way. */
const turn = 12
/** The clock is looked at every so many units of work; one is what takes about 100 ns. */
const unitsPerLook = 10_000

/** See the top of this file. */
export class Pace {
  private readonly signal: AbortSignal | undefined
  private units = 0
  private since = systemClock.now()

  constructor(signal?: AbortSignal) {
    this.signal = signal
  }

  /** Call it with the work done since the last call; wait for what it returns. Rejects when the signal is aborted. */
  step(units = 1): Promise<void> | undefined {
    this.units += units
    if (this.units < unitsPerLook) return undefined
    this.units = 0
    return systemClock.now() - this.since < turn ? undefined : this.giveWay()
  }

  private async giveWay(): Promise<void> {
    throwIfAborted(this.signal)
    await systemClock.turn()
    this.since = systemClock.now()
    throwIfAborted(this.signal)
  }
}
