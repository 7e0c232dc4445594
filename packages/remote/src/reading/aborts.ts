/** One listener per signal, whatever the number of those who wait: runtimes warn of more than ten, and each costs time. */

const waiting = new WeakMap<AbortSignal, Set<() => void>>()

/** Calls `callback` when `signal`, which is not aborted yet, is; the result takes that back. */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  const callbacks = waiting.get(signal) ?? listen(signal)
  callbacks.add(callback)
  return () => void callbacks.delete(callback)
}

function listen(signal: AbortSignal): Set<() => void> {
  const callbacks = new Set<() => void>()
  waiting.set(signal, callbacks)
  signal.addEventListener('abort', () => {
    for (const callback of [...callbacks]) callback()
  })
  return callbacks
}
