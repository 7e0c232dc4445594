/** Whether the key that a server shows is the one that is expected. */
import { createHash } from 'node:crypto'
import { BlockError } from '@diskgraph/core/driver'
import { knownKeys } from './known-hosts.ts'
import type { HostKeyCheck } from './options.ts'

/** A check that has been made ready, so that it can be done while the connection stands still. */
interface HostKeyVerifier {
  /** Algorithms whose keys are known: the server shows one of these if it has one. */
  readonly preferred: readonly string[]
  /** Throws EINVAL, with QEMU's texts, for a key (RFC 4253, 6.6) that is not the expected one. */
  verify(key: Buffer): void
}

/** Reads what the check needs. */
export async function hostKeyVerifier(check: HostKeyCheck, host: string, port: number): Promise<HostKeyVerifier> {
  switch (check.mode) {
    case 'none':
      return { preferred: [], verify() {} }
    case 'hash':
      return { preferred: [], verify: (key) => compare(key, check) }
    case 'known_hosts':
      return fromKnownHosts(host, port)
  }
}

function compare(key: Buffer, { type, hash }: Extract<HostKeyCheck, { mode: 'hash' }>): void {
  const found = createHash(type).update(key).digest('hex')
  if (found === hash.replaceAll(':', '').toLowerCase()) return
  const fingerprint = `${typeOf(key)} key fingerprint '${type}:${found}'`
  throw new BlockError('EINVAL', `remote host ${fingerprint} does not match host_key_check '${type}:${hash}'`)
}

async function fromKnownHosts(host: string, port: number): Promise<HostKeyVerifier> {
  const known = await knownKeys(host, port)
  const preferred = [...new Set(known.filter(({ revoked }) => !revoked).flatMap(({ type }) => algorithms[type] ?? []))]
  return {
    preferred,
    verify(key) {
      const type = typeOf(key)
      const shown = key.toString('base64')
      const same = known.filter((one) => one.key === shown)
      if (same.some(({ revoked }) => revoked)) throw new BlockError('EINVAL', `the ${type} host key has been revoked`)
      if (same.length > 0) return
      if (known.some((one) => one.type === type)) {
        const print = createHash('sha256').update(key).digest('base64').replace(/=+$/, '')
        const what = `host key (${type} key with fingerprint SHA256:${print})`
        throw new BlockError('EINVAL', `${what} does not match the one in known_hosts; this may be a possible attack`)
      }
      if (known.length > 0) throw new BlockError('EINVAL', 'host key for this server not found, another type exists')
      throw new BlockError('EINVAL', 'no host key was found in known_hosts', {
        hint: `log in once by 'ssh -p ${port} ${host}', or give the fingerprint as host-key-check`,
      })
    },
  }
}

/** Types of keys in known_hosts, and what they sign with: RSA also with hashes that are not in its name (RFC 8332). */
const algorithms: Readonly<Record<string, readonly string[]>> = {
  'ssh-ed25519': ['ssh-ed25519'],
  'ecdsa-sha2-nistp256': ['ecdsa-sha2-nistp256'],
  'ecdsa-sha2-nistp384': ['ecdsa-sha2-nistp384'],
  'ecdsa-sha2-nistp521': ['ecdsa-sha2-nistp521'],
  'ssh-rsa': ['rsa-sha2-512', 'rsa-sha2-256', 'ssh-rsa'],
}

/** The name that a key begins with. */
function typeOf(key: Buffer): string {
  return key.toString('latin1', 4, 4 + Math.min(64, key.readUInt32BE(0)))
}
