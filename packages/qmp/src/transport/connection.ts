/** A client over a pair of streams. */
import type { Readable, Writable } from 'node:stream'
import type { Session, SessionPeer, SessionSettings } from '../monitor/session.ts'

import { DescriptorStream } from './descriptor-stream.ts'

/** Whose client it is. */
interface Monitored {
  connect(peer: SessionPeer, settings?: SessionSettings): Session
  disconnect(session: Session): void
}

/** How a client over streams is treated. */
interface ClientSettings extends SessionSettings {
  /** Nothing is read before this resolves. */
  readonly ready?: Promise<unknown>
}

/** Milliseconds that a client has to read what was sent before the end. */
const lastWords = 500

/** Bytes that may wait for a client to read them; beyond that it is let go. */
const mostUnread = 64 * 2 ** 20

/**
 * Serves the client that writes to `input` and reads from `output` (the same object for a socket). Resolves when it is
 * gone: `input` has ended or one of them has failed. Aborting `signal` ends it.
 */
export function serveClient(
  monitor: Monitored,
  input: Readable,
  output: Writable,
  { ready, ...settings }: ClientSettings = {},
  signal?: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    let isGone = false
    const peer: SessionPeer = {
      send: (text) => {
        output.write(text)
        if (output.writableLength > mostUnread) leave()
      },
      pause: () => source.pause(),
      resume: () => source.resume(),
      close: () => leave(),
    }
    const leave = (): void => {
      if (isGone) return
      isGone = true
      monitor.disconnect(session)
      signal?.removeEventListener('abort', stop)
      withDescriptors?.close()
      input.destroy()
      output.destroy()
      resolve()
    }
    // What has been sent still arrives, if the client reads on.
    const stop = (): void => {
      monitor.disconnect(session)
      source.pause()
      output.end(leave)
      setTimeout(leave, lastWords).unref()
    }
    const session = connected()
    const end = (): void => {
      session.end()
      if (!settings.halfOpen) session.whenIdle().then(leave)
    }
    const withDescriptors = DescriptorStream.of(input, {
      data: (chunk, descriptors) => session.receive(chunk, descriptors),
      end,
      error: leave,
    })
    const source = withDescriptors ?? input
    if (withDescriptors === undefined) {
      input.on('data', (chunk: Uint8Array) => session.receive(chunk))
      input.on('end', end)
    }
    input.on('error', leave)
    source.pause()
    void Promise.resolve(ready).then(() => {
      if (!isGone) source.resume()
    })
    if (!settings.halfOpen) input.on('close', leave)
    if (output !== (input as unknown)) output.on('error', leave)
    signal?.addEventListener('abort', stop, { once: true })
    if (signal?.aborted) stop()

    function connected(): Session {
      try {
        return monitor.connect(peer, settings)
      } catch (error) {
        input.destroy()
        output.destroy()
        throw error
      }
    }
  })
}
