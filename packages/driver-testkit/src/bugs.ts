import { isBlockError } from '@diskgraph/core/driver'

/**
 * The mistake behind `error`, in words, if there is one: an error that no driver raises on purpose, itself or as the
 * cause of a BlockError (the core wraps what it does not know). Undefined for BlockErrors, system errors and aborts.
 */
export function bugIn(error: unknown): string | undefined {
  for (let at = error, depth = 0; at !== undefined && at !== null && depth < 10; depth++) {
    if (!isBlockError(at) && !isExpected(at)) return describeBug(at)
    at = (at as { cause?: unknown }).cause
  }
  return undefined
}

/** Errors of the system and of zlib have a code; aborts have their name. */
function isExpected(error: unknown): boolean {
  const { code, name } = error as { code?: unknown; name?: unknown }
  if (name === 'AbortError' || name === 'TimeoutError') return true
  return typeof code === 'string' && (!code.startsWith('ERR_') || code === 'ERR_BUFFER_TOO_LARGE')
}

function describeBug(error: unknown): string {
  const { stack } = error as { stack?: string }
  return (stack ?? String(error))
    .split('\n')
    .slice(0, 4)
    .map((line) => line.trim())
    .join(' ')
}
