/** Failures of connections in the terms of drivers. */
import { BlockError } from '@diskgraph/core/driver'
import { Interruption } from './interruption.ts'

const unreachable: Readonly<Record<string, string>> = {
  EAI_AGAIN: 'its name cannot be resolved now',
  ECONNREFUSED: 'connection refused',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'the network is unreachable',
  ENOTFOUND: 'its name cannot be resolved',
}

const lost = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED', 'ERR_STREAM_PREMATURE_CLOSE'])

/**
 * What a failure of a socket to `host` means: an Interruption where the next connection may go well, a BlockError where it
 * will not. `stale`: nothing had been asked yet.
 */
export function networkError(error: unknown, host: string, stale = false): BlockError | Interruption {
  if (error instanceof BlockError || error instanceof Interruption) return error
  const cause = firstOf(error)
  const { code = '', message } = cause
  if (code in unreachable) {
    return new BlockError('EIO', `cannot connect to ${host}: ${unreachable[code]}`, { cause })
  }
  if (lost.has(code)) {
    return new Interruption(new BlockError('ECONNRESET', `the connection to ${host} was lost`, { cause }), { stale })
  }
  if (code === 'EPROTO' || code.startsWith('ERR_SSL_')) {
    return new BlockError('EIO', `cannot agree on TLS with ${host}`, { cause, hint: 'does it speak TLS at all?' })
  }
  if (code === 'ETIMEDOUT') return new BlockError('ETIMEDOUT', `cannot connect to ${host}: timed out`, { cause })
  if (/^(CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|ERR_TLS_|HOSTNAME_MISMATCH|INVALID_)/.test(code)) {
    return new BlockError('EACCES', `the server's certificate is refused: ${message}`, { cause })
  }
  return new BlockError('EIO', `the transfer failed: ${message}`, { cause })
}

/** The first of several failures (one per address that was tried). */
function firstOf(error: unknown): NodeJS.ErrnoException {
  return (error instanceof AggregateError ? error.errors[0] : error) as NodeJS.ErrnoException
}
