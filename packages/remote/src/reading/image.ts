/** The image of a node that shows a file on a server. */
import { BlockError, done, isBlockError, type Limits, type OpenImage, withoutSecrets } from '@diskgraph/core/driver'
import type { ReadingSettings } from './options.ts'
import { ReadAhead, type Source } from './read-ahead.ts'

/** A file on a server. */
export interface RemoteSource extends Source {
  /** Takes whatever version of the file the server has now, and its size; what has come of its start with them. */
  start(signal: AbortSignal | undefined): Promise<Uint8Array>
  /** Ends its connections. */
  close(): void
}

class RemoteImage implements OpenImage {
  readonly identity: string
  readonly limits: Partial<Limits>
  readonly #reads: ReadAhead
  readonly #source: RemoteSource

  constructor(identity: string, source: RemoteSource, settings: ReadingSettings, head: Uint8Array) {
    this.identity = identity
    this.limits = { optimalTransfer: settings.readahead }
    this.#reads = new ReadAhead(source, settings)
    this.#source = source
    this.#reads.put(0, head)
  }

  get size(): number {
    return this.#source.size
  }

  read(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    const result = this.#reads.read(offset, buf, signal)
    return result === done ? done : result.catch((error: unknown) => this.#explain(error, offset, buf.length))
  }

  async invalidateCache(): Promise<void> {
    await this.#reads.clear()
    this.#reads.put(0, await this.#source.start(undefined))
  }

  async close(): Promise<void> {
    await this.#reads.clear()
    this.#source.close()
  }

  #explain(error: unknown, offset: number, length: number): never {
    if (!isBlockError(error) || error.code === 'ECANCELED') throw error
    const attempt = `cannot read ${length} bytes at ${offset} of '${withoutSecrets(this.identity)}'`
    throw new BlockError(error.code, `${attempt}: ${error.message}`, { cause: error, hint: error.hint })
  }
}

/** The image of a source, which is closed with it, or when it cannot be had. `identity` is its URL without credentials. */
export async function openRemote(
  identity: string,
  source: RemoteSource,
  settings: ReadingSettings,
  signal: AbortSignal | undefined,
): Promise<OpenImage> {
  try {
    return new RemoteImage(identity, source, settings, await source.start(signal))
  } catch (error) {
    source.close()
    throw error
  }
}
