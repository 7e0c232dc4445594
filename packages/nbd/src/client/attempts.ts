/** Attempts to connect: each with a deadline, and one after the other for as long as is wanted. */
import { BlockError, type Clock, delay } from '@diskgraph/core/driver'
import { mustBeStream } from '../arguments.ts'
import type { ByteDuplex } from '../stream/byte-duplex.ts'
import { type Established, handshake } from './handshake.ts'
import type { NbdClientSettings } from './settings.ts'

/** Milliseconds until a server must have answered, unless settings say otherwise. */
const usualTimeout = 30_000
/** Milliseconds between attempts to connect: the first wait. */
export const firstPause = 1000
/** The longest time that timers know, in milliseconds. */
const longestTime = 2 ** 31 - 1

/** Milliseconds of a number of seconds, or all that a timer can wait. */
export function timerTime(seconds: number): number {
  return Math.min(seconds * 1000, longestTime)
}

/** Connects and negotiates once. ETIMEDOUT when that is not done in time. */
export function establish(
  settings: NbdClientSettings,
  clock: Clock,
  signal: AbortSignal | undefined,
): Promise<Established> {
  return inTime(clock, settings.handshakeTimeout, signal, async (limit) => {
    const stream = await unlessLate(settings.connect(limit), limit)
    return whileAlive(limit, stream, () => handshake(stream, settings))
  })
}

/** Runs `work` until it succeeds, for as long as `openTimeout` allows; with a deadline for the last attempt. */
export async function persistently<T>(
  clock: Clock,
  { openTimeout = 0, signal }: NbdClientSettings,
  work: (signal: AbortSignal | undefined) => Promise<T>,
): Promise<T> {
  if (openTimeout === 0) return work(signal)
  const time = timerTime(openTimeout)
  const deadline = clock.now() + time
  const late = new AbortController()
  const cancel = clock.timeout(time, () => late.abort())
  const limit = signal === undefined ? late.signal : AbortSignal.any([late.signal, signal])
  try {
    for (;;) {
      try {
        return await work(limit)
      } catch (error) {
        if (limit.aborted) throw error
        await delay(clock, Math.min(firstPause, deadline - clock.now()), limit).catch(() => {})
        if (signal?.aborted || clock.now() >= deadline) throw error
      }
    }
  } finally {
    cancel()
  }
}

/** Runs `work` with a signal that comes after `ms`, or with `signal`. ETIMEDOUT in the first case. */
export async function inTime<T>(
  clock: Clock,
  ms: number | undefined,
  signal: AbortSignal | undefined,
  work: (limit: AbortSignal) => Promise<T>,
): Promise<T> {
  const time = Math.min(ms ?? usualTimeout, longestTime)
  const late = new AbortController()
  const cancel = clock.timeout(time, () => late.abort())
  try {
    return await work(signal === undefined ? late.signal : AbortSignal.any([late.signal, signal]))
  } catch (cause) {
    if (!late.signal.aborted || signal?.aborted) throw cause
    throw new BlockError('ETIMEDOUT', `the server has not answered within ${time / 1000} s`, {
      cause,
      hint: 'it may hang, have as many clients as it takes, or be no NBD server',
    })
  } finally {
    cancel()
  }
}

/** Runs `work` on a stream, which is destroyed when the signal comes first. */
export async function whileAlive<T>(signal: AbortSignal, stream: ByteDuplex, work: () => Promise<T>): Promise<T> {
  mustBeStream('connect', stream)
  const abort = (): void => {
    stream.destroy()
  }
  signal.addEventListener('abort', abort, { once: true })
  if (signal.aborted) abort()
  try {
    return await work()
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/** The stream, unless the signal comes first: then one that comes later is destroyed. */
function unlessLate(connecting: Promise<ByteDuplex>, signal: AbortSignal): Promise<ByteDuplex> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(new BlockError('ETIMEDOUT', 'the connection did not come in time'))
    signal.addEventListener('abort', abort, { once: true })
    Promise.resolve(connecting).then(
      (stream) => {
        signal.removeEventListener('abort', abort)
        if (signal.aborted) stream.destroy()
        resolve(stream)
      },
      (error) => {
        signal.removeEventListener('abort', abort)
        reject(error)
      },
    )
  })
}
