/** A client over a pair of streams. */
import type { Readable, Writable } from 'node:stream'
import type { Session, SessionPeer, SessionSettings } from '../monitor/session.ts'

/** Whose client it is. */
interface Monitored {
  connect(peer: SessionPeer, settings?: SessionSettings): Session
  disconnect(session: Session): void
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
  settings: SessionSettings = {},
  signal?: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    let isGone = false
    const peer: SessionPeer = {
      send: (text) => {
        output.write(text)
        if (output.writableLength > mostUnread) leave()
      },
      pause: () => input.pause(),
      resume: () => input.resume(),
      close: () => leave(),
    }
    const leave = (): void => {
      if (isGone) return
      isGone = true
      monitor.disconnect(session)
      signal?.removeEventListener('abort', stop)
      input.destroy()
      output.destroy()
      resolve()
    }
    // What has been sent still arrives, if the client reads on.
    const stop = (): void => {
      monitor.disconnect(session)
      input.pause()
      output.end(leave)
      setTimeout(leave, lastWords).unref()
    }
    const session = monitor.connect(peer, settings)
    input.on('data', (chunk: Uint8Array) => session.receive(chunk))
    input.on('end', () => {
      session.end()
      session.whenIdle().then(leave)
    })
    input.on('error', leave)
    input.on('close', leave)
    if (output !== (input as unknown)) output.on('error', leave)
    signal?.addEventListener('abort', stop, { once: true })
    if (signal?.aborted) stop()
  })
}
