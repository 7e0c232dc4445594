import { unlessAborted } from '@diskgraph/core/driver'

/** The lines of `input`, without their ends. The last one may lack its end. Stops when `signal` is aborted. */
export async function* inputLines(
  input: AsyncIterable<Uint8Array | string>,
  signal: AbortSignal,
): AsyncGenerator<string, undefined> {
  const decoder = new TextDecoder()
  const chunks = input[Symbol.asyncIterator]()
  let rest = ''
  try {
    for (;;) {
      const { value, done } = await nextOrEnd(chunks.next(), signal)
      if (done) break
      const lines = (rest + (typeof value === 'string' ? value : decoder.decode(value, { stream: true }))).split('\n')
      rest = lines.pop() ?? ''
      yield* lines
    }
    if (rest !== '') yield rest
  } finally {
    if (!signal.aborted) await chunks.return?.()
  }
}

/** The next chunk; an abort is the end of the input. */
function nextOrEnd<T>(next: Promise<IteratorResult<T>>, signal: AbortSignal): Promise<IteratorResult<T>> {
  return unlessAborted(next, signal).catch((error) => {
    if (signal.aborted) return { value: undefined, done: true }
    throw error
  })
}
