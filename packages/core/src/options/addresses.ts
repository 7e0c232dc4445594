/** Parts of the names of servers, as drivers of several protocols have them. */
import { BlockError } from '../errors.ts'

/** A part of a URL without its `%41`. EINVAL, with QEMU's text, where that is none. */
export function decodeUrlPart(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new BlockError('EINVAL', 'No valid URL specified')
  }
}

/** Text as it stands in a URL where nothing in it would end a part; `/` and `@` stay. */
export function encodeUrlPart(text: string): string {
  return text.replace(/[%?#\s]/g, encodeURIComponent)
}

/** The number of a port, which may be one of `services`. EINVAL, with QEMU's text, for text that is none. */
export function portNumber(host: string, text: string, services: Readonly<Record<string, number>> = {}): number {
  const isService = Object.hasOwn(services, text)
  const port = isService ? (services[text] as number) : Number(text)
  if ((isService || /^\d+$/.test(text)) && port <= 65535) return port
  const reason = 'Servname not supported for ai_socktype'
  throw new BlockError('EINVAL', `address resolution failed for ${host}:${text}: ${reason}`)
}
