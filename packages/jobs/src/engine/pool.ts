import { allSettled } from './work.ts'

/**
 * Lets `count` workers take one item after the other and `work` on it, each with a buffer of its own of `bufferLength`
 * bytes: memory is bounded by workers × buffer. The first error stops all workers after what they have begun; it is
 * thrown when all of them have ended.
 */
export async function runPool<T>(
  items: AsyncGenerator<T>,
  count: number,
  bufferLength: number,
  work: (item: T, buffer: () => Uint8Array) => Promise<void>,
): Promise<void> {
  let failed = false
  const worker = async (): Promise<void> => {
    let own: Uint8Array | undefined
    const buffer = (): Uint8Array => {
      own ??= new Uint8Array(bufferLength)
      return own
    }
    while (!failed) {
      try {
        const next = await items.next()
        if (next.done) return
        await work(next.value, buffer)
      } catch (error) {
        failed = true
        throw error
      }
    }
  }
  try {
    await allSettled(Array.from({ length: count }, worker))
  } finally {
    await items.return(undefined)
  }
}
