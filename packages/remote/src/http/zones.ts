/** Networks by how near they are: what a redirect must not come closer to. */

/** From the nearest to the farthest. */
const zones = ['loopback', 'link-local', 'private', 'public'] as const

/** Where an address is. */
export type Zone = (typeof zones)[number]

/** Whether `zone` is nearer than `limit`. */
export function isNearer(zone: Zone, limit: Zone): boolean {
  return zones.indexOf(zone) < zones.indexOf(limit)
}

/** The zone of an IPv4 or IPv6 address (RFC 6890); of an IPv4 address inside an IPv6 one, that of the former. */
export function zoneOf(address: string): Zone {
  const groups = ipv6Groups(address)
  if (groups === undefined) return zoneOfIPv4(address.split('.').map(Number))
  const [first = 0, second = 0] = groups
  const high = groups.slice(0, 6)
  const embedded = [groups[6] as number, groups[7] as number].flatMap((group) => [group >> 8, group & 255])
  if (high.every((group) => group === 0)) return embedded[0] === 0 ? 'loopback' : zoneOfIPv4(embedded)
  const mapped = high.slice(0, 5).every((group) => group === 0) && high[5] === 0xffff
  if (mapped || (first === 0x64 && second === 0xff9b)) return zoneOfIPv4(embedded)
  if (first === 0x2002) return zoneOfIPv4([second >> 8, second & 255, (groups[2] as number) >> 8, 0])
  if ((first & 0xffc0) === 0xfe80) return 'link-local'
  if ((first & 0xfe00) === 0xfc00) return 'private'
  return 'public'
}

function zoneOfIPv4(octets: readonly number[]): Zone {
  const [a = 0, b = 0] = octets
  if (a === 127 || a === 0) return 'loopback'
  if (a === 169 && b === 254) return 'link-local'
  if (a === 10 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168) || (a === 100 && b >= 64 && b < 128)) {
    return 'private'
  }
  return 'public'
}

/** The eight groups of an IPv6 address (a zone index is ignored); undefined if it has no colon. */
function ipv6Groups(address: string): number[] | undefined {
  if (!address.includes(':')) return undefined
  const { hostname } = new URL(`http://[${address.replace(/%.*$/, '')}]/`)
  const [head = '', tail] = hostname.slice(1, -1).split('::')
  const parse = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16))
  const left = parse(head)
  const right = tail === undefined ? [] : parse(tail)
  return [...left, ...new Array<number>(8 - left.length - right.length).fill(0), ...right]
}
