/** Transfers that go on where they broke off. */
import { delay, isBlockError } from '@diskgraph/core/driver'
import { Interruption } from './interruption.ts'
import type { ReadingSettings } from './options.ts'
import type { Sink } from './read-ahead.ts'
import { Watchdog } from './watchdog.ts'

/** How far a transfer has come. */
export interface Cursor {
  at: number
  end: number
  readonly sink: Sink
}

/** Wait before the first repetition; it doubles with each. */
const firstWait = 100
/** Repetitions that cost nothing, because the connection had been closed before it was used. */
const maxStale = 16

/**
 * Attempts a transfer until it succeeds, fails for good, or has been tried as often without progress, or has taken as long, as the
 * settings say. The signal that `attempt` is given aborts with an error that says why.
 */
export async function repeat(
  settings: Pick<ReadingSettings, 'clock' | 'timeout' | 'retries'>,
  cursor: Cursor,
  attempt: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { clock, timeout, retries } = settings
  const watchdog = new Watchdog(clock, signal)
  watchdog.expect('the transfer takes too long', timeout)
  const deadline = clock.now() + timeout
  let failures = 0
  let stale = 0
  try {
    for (;;) {
      const before = cursor.at
      try {
        return await attempt(watchdog.signal)
      } catch (error) {
        const interruption = interruptionOf(error, watchdog.signal)
        if (interruption.stale && ++stale <= maxStale) continue
        failures = cursor.at > before ? 1 : failures + 1
        if (failures > retries) throw interruption.error
        const wait = interruption.wait ?? firstWait * 2 ** (failures - 1)
        if (clock.now() + wait >= deadline) throw interruption.error
        await delay(clock, wait, watchdog.signal)
      }
    }
  } finally {
    watchdog.stop()
  }
}

/** A failed attempt that may be repeated; anything else is thrown, and so is the end of the whole transfer. */
function interruptionOf(error: unknown, signal: AbortSignal): Interruption {
  if (signal.aborted) throw signal.reason
  if (error instanceof Interruption) return error
  if (isBlockError(error) && error.code === 'ETIMEDOUT') return new Interruption(error)
  throw error
}
