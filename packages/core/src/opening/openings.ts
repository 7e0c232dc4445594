/** Openings as a graph begins them: those under way, which its closing aborts and waits for, and what their failures say. */

import { BlockError, toBlockError } from '../errors.ts'
import { topBase } from '../options/base-options.ts'
import { withoutSecrets } from '../options/filenames.ts'
import { Activity } from '../request/activity.ts'
import type { Scope } from './opener.ts'
import type { OpenSettings } from './settings.ts'

/** The openings under way. */
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
    path: '',
    chain: new Map(),
    inspect: settings.inspect === true,
    keyless: settings.inspect === true || settings.keyless === true,
    check: settings.check === true,
    withoutBacking: settings.withoutBacking === true,
    standIn: settings.standIn,
    base: topBase,
    contain: undefined,
    signal: settings.signal,
    change: undefined,
  }
}

/** Runs `open`; a failure gets `Could not open 'name': ` before its message; `Could not open a node: ` without a name. */
export async function describingFailure<T>(name: string | undefined, open: () => Promise<T>): Promise<T> {
  try {
    return await open()
  } catch (error) {
    const failure = toBlockError(error)
    const prefix = `Could not open ${name === undefined ? 'a node' : `'${withoutSecrets(String(name))}'`}: `
    if (failure.message.startsWith(prefix)) throw failure
    throw new BlockError(failure.code, prefix + failure.message, {
      cause: error,
      hint: failure.hint,
      node: failure.node,
    })
  }
}

/** How messages name what a definition opens: its innermost file name, or its driver. */
export function nameOfDefinition(options: Readonly<Record<string, unknown>>): string | undefined {
  let at: unknown = options
  while (typeof at === 'object' && at !== null) {
    const { filename, file, image, url } = at as Record<string, unknown>
    if (typeof filename === 'string') return filename
    if (typeof url === 'string') return url
    at = file ?? image
  }
  if (typeof at === 'string') return at
  return options?.driver === undefined ? undefined : String(options.driver)
}
