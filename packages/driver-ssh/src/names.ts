/** Names of `ssh` nodes: `ssh://[USER@]HOST[:PORT]/PATH[?host_key_check=no|yes|md5:…|sha1:…|sha256:…]`. */
import { BlockError, decodeUrlPart, encodeUrlPart, jsonFilename } from '@diskgraph/core/driver'
import { type HostKeyCheck, type SshOptions, serverOf } from './options.ts'

/** The options that a name stands for. EINVAL, with QEMU's texts, for one that is malformed. */
export function parseFilename(filename: string): Record<string, unknown> {
  const match = /^ssh:\/\/(?:([^@/?#]*)@)?([^/?#]*)([^?#]*)(?:\?([^#]*))?$/.exec(filename)
  if (match === null) throw new BlockError('EINVAL', 'No valid URL specified')
  const [, user = '', authority = '', path = '', query = ''] = match
  if (user.includes(':')) throw new BlockError('EINVAL', 'a password cannot stand in the name; use an agent or a key')
  const place = /^(?:\[([^\]]+)\]|([^:]*))(?::(\d*))?$/.exec(authority)
  const host = place?.[1] ?? place?.[2] ?? ''
  if (host === '') throw new BlockError('EINVAL', 'missing hostname in URI')
  if (path === '' || path === '/') throw new BlockError('EINVAL', 'missing remote path in URI')
  return {
    server: { host: decodeUrlPart(host), port: place?.[3] || '22' },
    path: decodeUrlPart(path),
    ...(user === '' ? {} : { user: decodeUrlPart(user) }),
    ...checkOf(query),
  }
}

function checkOf(query: string): { hostKeyCheck?: HostKeyCheck } {
  if (query === '') return {}
  const match = /^host_key_check=([^&]*)$/.exec(query)
  if (match === null) throw new BlockError('EINVAL', `unknown parameter in '?${query}'; there is host_key_check`)
  const setting = decodeUrlPart(match[1] as string)
  if (setting === 'no') return { hostKeyCheck: { mode: 'none' } }
  if (setting === 'yes') return { hostKeyCheck: { mode: 'known_hosts' } }
  const hash = /^(md5|sha1|sha256):(.*)$/.exec(setting)
  if (hash === null) throw new BlockError('EINVAL', `unknown host_key_check setting (${setting})`)
  return { hostKeyCheck: { mode: 'hash', type: hash[1] as 'md5', hash: hash[2] as string } }
}

/** A name for options, the inverse of {@link parseFilename}; a `json:` name where there is no short one. */
export function formatFilename(options: Readonly<Record<string, unknown>>): string {
  const given = options as unknown as SshOptions
  const server = serverOf(given)
  const { path, user, hostKeyCheck } = given
  // A path that is relative to the home of the user has no such name.
  if (!path.startsWith('/')) return jsonFilename({ driver: 'ssh', server, path, user, hostKeyCheck })
  const host = server.host.includes(':') ? `[${server.host}]` : encodeUrlPart(server.host)
  const port = server.port === '22' ? '' : `:${server.port}`
  const name = user === undefined ? '' : `${encodeURIComponent(user)}@`
  return `ssh://${name}${host}${port}${encodeUrlPart(path)}${queryOf(hostKeyCheck)}`
}

function queryOf(check: HostKeyCheck | undefined): string {
  switch (check?.mode) {
    case 'none':
      return '?host_key_check=no'
    case 'hash':
      return `?host_key_check=${check.type}:${encodeUrlPart(check.hash)}`
    default:
      return ''
  }
}
