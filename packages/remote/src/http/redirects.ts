/** Where a redirect may lead. */
import { BlockError } from '@diskgraph/core/driver'
import type { RedirectRule } from './settings.ts'
import { isNearer, type Zone } from './zones.ts'

/** The URL that a reply of `from` redirects to. EACCES for one that `rule` does not allow, EIO for none. */
export function redirectTarget(from: URL, location: string | undefined, rule: RedirectRule): URL {
  if (location === undefined) throw new BlockError('EIO', 'the server redirects without saying where to')
  const target = parseTarget(location, from)
  target.username = ''
  target.password = ''
  target.hash = ''
  checkRedirect(from, target, rule)
  return target
}

function parseTarget(location: string, from: URL): URL {
  try {
    return new URL(location, from)
  } catch {
    throw new BlockError('EIO', 'the server redirects to something that is not a URL')
  }
}

/** Throws EACCES unless `rule` allows to go from `from` to `target`, as far as the URLs tell. */
export function checkRedirect(from: URL, target: URL, rule: RedirectRule): void {
  const refuse = (reason: string, hint?: string): never => {
    throw new BlockError('EACCES', `refusing the redirect to '${target.origin}': ${reason}`, { hint })
  }
  if (target.protocol !== 'http:' && target.protocol !== 'https:') {
    throw new BlockError('EACCES', `refusing the redirect to '${target.protocol}': only http and https are followed`)
  }
  if (rule === 'none') refuse('redirects are not followed', "set redirect to 'safe' to follow it")
  if (rule === 'same-origin' && target.origin !== from.origin) refuse('it leads to another server')
  if (from.protocol === 'https:' && target.protocol === 'http:') refuse('it leads from https to http')
}

/** The error of a connection to an address nearer than the one that redirected there. */
export function nearerAddress(host: string, address: string, zone: Zone, limit: Zone): BlockError | undefined {
  if (!isNearer(zone, limit)) return undefined
  return new BlockError(
    'EACCES',
    `refusing the redirect to '${host}': ${address} is a ${zone} address, and a ${limit} host redirects there`,
    { hint: "set redirect to 'any-address' to allow it" },
  )
}
