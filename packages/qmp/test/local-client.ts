/** A client in the same process: what it sends is answered before it goes on. */
import type { Monitor, SessionSettings } from '@diskgraph/qmp'

export class LocalClient {
  /** What has come and was not asked for yet. */
  readonly received: unknown[] = []
  closed = false
  readonly #session
  #arrived: () => void = () => undefined

  constructor(monitor: Monitor, settings: SessionSettings = {}) {
    this.#session = monitor.connect(
      {
        send: (text) => {
          this.received.push(JSON.parse(text))
          this.#arrived()
        },
        pause: () => undefined,
        resume: () => undefined,
        close: () => {
          this.closed = true
        },
      },
      settings,
    )
    this.received.length = 0
  }

  /** Sends text; resolves with all that has come when it has been answered. */
  async exchange(text: string | Uint8Array): Promise<unknown[]> {
    this.#session.receive(typeof text === 'string' ? Buffer.from(text) : text)
    await this.#session.whenIdle()
    return this.received.splice(0)
  }

  /** As {@link exchange}, when `count` messages have come, which may be some time after the answer. */
  async exchangeFor(text: string, count: number): Promise<unknown[]> {
    this.#session.receive(Buffer.from(text))
    await this.#session.whenIdle()
    while (this.received.length < count) {
      await new Promise<void>((resolve) => {
        this.#arrived = resolve
      })
    }
    return this.received.splice(0)
  }

  /** Negotiates, and executes a command. Its result, or its error as `{ class, desc }`. */
  async execute(command: string, args: object = {}): Promise<unknown> {
    const answers = (await this.exchange(JSON.stringify({ execute: command, arguments: args }))) as {
      return?: unknown
      error?: unknown
    }[]
    const answer = answers.find((one) => 'return' in one || 'error' in one)
    return answer?.error ?? answer?.return
  }
}
