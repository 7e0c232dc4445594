import { type Clock, done } from '@diskgraph/core/driver'

/** What a session needs of its connection; sockets of Node are of this shape, and so is anything else that is. */
export interface ByteDuplex {
  readonly destroyed: boolean
  /** False: wait for `drain` before more is written. `bytes` are the caller's again when `written` is called. */
  write(bytes: Uint8Array, written?: (error?: Error | null) => void): boolean
  /** Ends the outgoing side when everything is written. */
  end(): unknown
  /** Ends both sides at once. */
  destroy(error?: Error): unknown
  pause(): unknown
  resume(): unknown
  /** Between the two, writes are gathered. */
  cork(): void
  uncork(): void
  on(event: 'data', listener: (chunk: Uint8Array) => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'end' | 'close' | 'drain', listener: () => void): unknown
  off(event: 'data', listener: (chunk: Uint8Array) => void): unknown
  off(event: 'error', listener: (error: Error) => void): unknown
  off(event: 'end' | 'close' | 'drain', listener: () => void): unknown
}

/** Closes `stream` in order when it is `ready` for that, and cuts it off `ms` milliseconds later if it is still there. */
export function endSoon(stream: ByteDuplex, clock: Clock, ms: number, ready: Promise<void> = done): void {
  if (stream.destroyed) return
  const cancel = clock.timeout(ms, () => stream.destroy())
  stream.on('close', cancel)
  void ready.then(() => stream.end())
}
