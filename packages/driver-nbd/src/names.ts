/**
 * Names of `nbd` nodes:
 *
 *     nbd://HOST[:PORT]/[EXPORT]              nbd+tcp:// is the same
 *     nbd+unix:///[EXPORT]?socket=PATH
 *     nbd:HOST:PORT[:exportname=EXPORT]
 *     nbd:unix:PATH[:exportname=EXPORT]
 */
import { BlockError, decodeUrlPart, encodeUrlPart, jsonFilename } from '@diskgraph/core/driver'
import { type NbdOptions, type NbdServerAddress, serverOf } from './options.ts'

const exportMark = ':exportname='

/** The options that a name stands for. EINVAL, with QEMU's texts, for one that is malformed. */
export function parseFilename(filename: string): Record<string, unknown> {
  return filename.includes('://') ? parseUri(filename) : parseOld(filename)
}

function parseUri(filename: string): Record<string, unknown> {
  const match = /^(nbd|nbd\+tcp|nbd\+unix):\/\/([^/?#]*)(\/[^?#]*)?(?:\?([^#]*))?$/.exec(filename)
  if (match === null) throw noUrl()
  const [, scheme, authority = '', path = '', query = ''] = match
  const socket = socketOf(query)
  const name = decodeUrlPart(path.replace(/^\//, ''))
  const named = name === '' ? {} : { export: name }
  if (scheme === 'nbd+unix') {
    if (authority !== '' || socket === undefined) throw noUrl()
    return { server: { type: 'unix', path: socket }, ...named }
  }
  const place = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d*))?$/.exec(authority)
  if (place === null || query !== '') throw noUrl()
  const host = decodeUrlPart(place[1] ?? (place[2] as string))
  return { server: { type: 'inet', host, port: place[3] || '10809' }, ...named }
}

function noUrl(): BlockError {
  return new BlockError('EINVAL', 'No valid URL specified')
}

/** The one parameter there is. */
function socketOf(query: string): string | undefined {
  if (query === '') return undefined
  const match = /^socket=([^&]*)$/.exec(query)
  if (match === null) throw noUrl()
  return decodeUrlPart(match[1] as string)
}

function parseOld(filename: string): Record<string, unknown> {
  const text = filename.replace(/^nbd:/, '')
  const at = text.indexOf(exportMark)
  const address = at < 0 ? text : text.slice(0, at)
  const name = at < 0 ? '' : text.slice(at + exportMark.length)
  const named = name === '' ? {} : { export: name }
  if (address === '') throw new BlockError('EINVAL', 'NBD server address missing')
  if (address.startsWith('unix:')) return { server: { type: 'unix', path: address.slice(5) }, ...named }
  const place = /^(?:\[([^\]]+)\]|([^:]*)):(.*)$/.exec(address)
  if (place === null) throw new BlockError('EINVAL', `error parsing address '${address}'`)
  return { server: { type: 'inet', host: place[1] ?? place[2], port: place[3] }, ...named }
}

/** A name for options, the inverse of {@link parseFilename}; a `json:` name where there is no short one. */
export function formatFilename(options: Readonly<Record<string, unknown>>): string {
  const { export: name = '', tlsCreds, tlsHostname } = options as NbdOptions
  const server = serverOf(options as NbdOptions)
  const told = { server, export: name || undefined, tlsCreds, tlsHostname }
  return shortName(server, name) ?? jsonFilename({ driver: 'nbd', ...told })
}

function shortName(server: NbdServerAddress, name: string): string | undefined {
  const path = name === '' ? '' : `/${encodeUrlPart(name)}`
  if (server.type === 'unix') return `nbd+unix://${path}?socket=${encodeUrlPart(server.path)}`
  if (server.type === 'fd') return undefined
  const host = server.host.includes(':') ? `[${server.host}]` : server.host
  return `nbd://${host}:${server.port}${path}`
}
