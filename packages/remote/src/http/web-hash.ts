import { BlockError } from '@diskgraph/core/driver'
import type { DigestHash } from './settings.ts'

/** As in Node; ENOTSUP for MD5, which browsers do not have. */
export async function webHash(algorithm: DigestHash, text: string): Promise<string> {
  if (algorithm === 'MD5') throw new BlockError('ENOTSUP', 'the server asks for MD5, which browsers do not have')
  const hash = new Uint8Array(await crypto.subtle.digest(algorithm, new TextEncoder().encode(text)))
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
