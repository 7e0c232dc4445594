import type { BlockError } from '@diskgraph/core/driver'

/** A failure that may not happen again: caught by the driver, which tries once more or throws `error`. */
export class Interruption extends Error {
  readonly error: BlockError
  /** Milliseconds that the server asks to wait. */
  readonly wait: number | undefined
  /** The server closed a connection that was kept open, just as it was used again: not a failed attempt at all. */
  readonly stale: boolean

  constructor(error: BlockError, details: { readonly wait?: number; readonly stale?: boolean } = {}) {
    super(error.message, { cause: error })
    this.name = 'Interruption'
    this.error = error
    this.wait = details.wait
    this.stale = details.stale === true
  }
}
