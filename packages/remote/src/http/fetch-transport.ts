/**
 * HTTP by fetch, for browsers. The browser decides about connections, certificates, cookies and redirects; what was
 * asked for and it cannot do is refused when the node is opened, and redirects are judged when they have been followed.
 */
import { BlockError } from '@diskgraph/core/driver'
import { Interruption } from '../reading/interruption.ts'
import type { HttpSettings } from './settings.ts'
import type { Exchange, Reply, Transport } from './transport.ts'

class FetchTransport implements Transport {
  readonly #redirect: RequestRedirect

  constructor(settings: HttpSettings) {
    this.#redirect = settings.redirect === 'none' ? 'error' : 'follow'
  }

  async send({ url, headers, signal }: Exchange): Promise<Reply> {
    const response = await this.#fetch(url, headers, signal)
    const body = response.body ?? new ReadableStream<Uint8Array>({ start: (controller) => controller.close() })
    return {
      status: response.status,
      url: new URL(response.url),
      zone: 'public',
      header: (name) => response.headers.get(name) ?? undefined,
      filtered: response.type === 'cors',
      body: chunksOf(body, signal),
      discard: () => void body.cancel().catch(() => undefined),
    }
  }

  async #fetch(url: URL, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Response> {
    try {
      return await fetch(url, {
        headers,
        signal,
        redirect: this.#redirect,
        cache: 'no-store',
        credentials: 'same-origin',
        referrerPolicy: 'no-referrer',
      })
    } catch (error) {
      throw translate(error, url, signal)
    }
  }

  close(): void {
    // Connections are the browser's.
  }
}

/** Makes the transport of a node. ENOTSUP for what only Node can do. */
export async function fetchTransport(settings: HttpSettings): Promise<Transport> {
  const refuse = (option: string, reason: string): never => {
    throw new BlockError('ENOTSUP', `${option} cannot be used in a browser: ${reason}`)
  }
  if (settings.cookie !== undefined) refuse('cookie', 'it sends its own cookies')
  if (settings.proxy.url !== undefined || settings.proxy.username !== undefined) refuse('proxy', 'it has its own')
  if (!settings.sslverify) refuse('sslverify=off', 'it always verifies')
  if (settings.ca !== undefined) refuse('ca', 'it has its own certificates')
  return new FetchTransport(settings)
}

async function* chunksOf(body: ReadableStream<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const reader = body.getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      yield value
    }
  } catch (error) {
    throw translate(error, undefined, signal)
  } finally {
    await reader.cancel().catch(() => undefined)
    reader.releaseLock()
  }
}

/** fetch tells nothing of the reason, on purpose: pages are not to explore networks. */
function translate(cause: unknown, url: URL | undefined, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason
  if (url === undefined) return new Interruption(new BlockError('ECONNRESET', 'the connection was lost', { cause }))
  const error = new BlockError('EIO', `the browser cannot fetch from ${url.host}`, {
    cause,
    hint: 'it may be unreachable, redirect against the rules, or not allow this page by its CORS headers',
  })
  return new Interruption(error)
}
