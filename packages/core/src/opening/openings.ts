/** The openings under way in a graph: its closing aborts them and waits for their ends. */

import { topBase } from '../options/base-options.ts'
import { Activity } from '../request/activity.ts'
import type { Scope } from './opener.ts'
import type { OpenSettings } from './settings.ts'

/** See the top of the file. */
export class Openings {
  readonly #activity = new Activity()
  #closing = new AbortController()

  /** Runs `open` with the scope of a new opening. */
  async run<T>(settings: OpenSettings, open: (scope: Scope) => Promise<T>): Promise<T> {
    const closing = this.#closing.signal
    const { signal } = settings
    this.#activity.enter()
    try {
      const either = signal === undefined ? closing : AbortSignal.any([signal, closing])
      return await open(newScope({ ...settings, signal: either }))
    } finally {
      this.#activity.leave()
    }
  }

  /** Aborts all with `reason`; resolves when none is left. */
  async end(reason: Error): Promise<void> {
    this.#closing.abort(reason)
    await this.#activity.idle()
    this.#closing = new AbortController()
  }
}

/** The scope of an opening at the top of a chain. */
export function newScope(settings: OpenSettings): Scope {
  return {
    depth: 0,
    chain: new Map(),
    inspect: settings.inspect === true,
    check: settings.check === true,
    withoutBacking: settings.withoutBacking === true,
    base: topBase,
    contain: undefined,
    signal: settings.signal,
    change: undefined,
  }
}
