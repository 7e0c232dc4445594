/** Telling a debugging filter below what is about to happen. */
import type { ChildHandle } from '@diskgraph/core/driver'

/** Raises events one after the other. Undefined when nobody holds any of them up; else await the promise. */
export function announce(file: ChildHandle, ...events: readonly string[]): Promise<void> | undefined {
  for (let i = 0; i < events.length; i++) {
    const held = file.debugEvent(events[i]!)
    if (held !== undefined) return held.then(() => announce(file, ...events.slice(i + 1)))
  }
  return undefined
}
