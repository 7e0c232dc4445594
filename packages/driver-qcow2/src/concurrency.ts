/** Waiting for several requests: all of them settle before the first error is reported. */
import { done } from '@diskgraph/core/driver'

/** Resolves when all have resolved; rejects with the first error in order after all have settled. */
export async function settleAll(requests: readonly Promise<unknown>[]): Promise<void> {
  if (requests.length === 1) {
    await requests[0]
    return
  }
  const results = await Promise.allSettled(requests)
  for (const result of results) if (result.status === 'rejected') throw result.reason
}

/** Runs `work` on every item with at most `limit` at a time; starts no more after an error, and waits for all. */
export async function forEachLimited<Item>(
  items: readonly Item[],
  limit: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  let next = 0
  let failed = false
  const lane = async (): Promise<void> => {
    while (next < items.length && !failed) {
      const item = items[next++]!
      try {
        await work(item)
      } catch (error) {
        failed = true
        throw error
      }
    }
  }
  await settleAll(Array.from({ length: Math.min(limit, items.length) }, lane))
}

/** Requests that are started one after the other and waited for together. Requests that are done cost nothing. */
export class Fan {
  private active = 0
  private failed = false
  private error: unknown
  private wake: (() => void) | undefined

  /** Whether a request has failed already, so that starting more is of no use. */
  get broken(): boolean {
    return this.failed
  }

  /** How many requests are on their way. */
  get pending(): number {
    return this.active
  }

  add(request: Promise<unknown>): void {
    if (request === done) return
    this.active++
    request.then(
      () => this.finished(),
      (error) => {
        this.fail(error)
        this.finished()
      },
    )
  }

  /** Remembers an error that happened while requests were being started. */
  fail(error: unknown): void {
    if (this.failed) return
    this.failed = true
    this.error = error
  }

  /** Resolves when fewer than `limit` requests are on their way. */
  async below(limit: number): Promise<void> {
    while (this.active >= limit) {
      await new Promise<void>((resolve) => {
        this.wake = resolve
      })
    }
  }

  /** Resolves when all requests have settled; rejects with the first error there was. */
  async finish(): Promise<void> {
    await this.below(1)
    if (this.failed) throw this.error
  }

  private finished(): void {
    this.active--
    const { wake } = this
    this.wake = undefined
    wake?.()
  }
}
