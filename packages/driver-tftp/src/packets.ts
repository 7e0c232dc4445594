/**
 * Datagrams of TFTP: RFC 1350, with the options of RFC 2347 (blksize 2348, tsize 2349, windowsize 7440). Numbers are of two
 * bytes, the higher one first; texts end with a zero.
 */

/** First two bytes of a datagram (RFC 1350, 5; OACK: RFC 2347). */
const opcode = { rrq: 1, data: 3, ack: 4, error: 5, oack: 6 } as const

/** Codes of errors that we send or understand (RFC 1350, appendix; RFC 2347). */
export const errorCode = {
  notFound: 1,
  accessViolation: 2,
  diskFull: 3,
  illegalOperation: 4,
  unknownTransferId: 5,
  optionRefused: 8,
} as const

/** What a server sends. */
export type Packet =
  | { readonly kind: 'data'; readonly block: number; readonly bytes: Uint8Array }
  | { readonly kind: 'error'; readonly code: number; readonly text: string }
  | { readonly kind: 'oack'; readonly options: ReadonlyMap<string, string> }

/** A datagram taken apart; the bytes of data are a part of it. Undefined for one that no server sends. */
export function parsePacket(datagram: Uint8Array): Packet | undefined {
  if (datagram.length < 2) return undefined
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.length)
  const kind = view.getUint16(0)
  if (kind === opcode.oack) return parseOptions(datagram.subarray(2))
  if (datagram.length < 4) return undefined
  const number = view.getUint16(2)
  if (kind === opcode.data) return { kind: 'data', block: number, bytes: datagram.subarray(4) }
  if (kind !== opcode.error) return undefined
  const end = datagram.indexOf(0, 4)
  return { kind: 'error', code: number, text: textOf(datagram.subarray(4, end < 0 ? undefined : end)) }
}

function parseOptions(bytes: Uint8Array): Packet | undefined {
  const words = textOf(bytes).split('\0')
  // The zero that ends the last word.
  if (words.pop() !== '' || words.length % 2 !== 0) return undefined
  const options = new Map<string, string>()
  for (let i = 0; i < words.length; i += 2) options.set((words[i] as string).toLowerCase(), words[i + 1] as string)
  return { kind: 'oack', options }
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder('latin1').decode(bytes)
}

/** Asks for a file, byte by byte as it is. */
export function readRequest(path: string, options: Readonly<Record<string, number>>): Uint8Array {
  const words = [path, 'octet', ...Object.entries(options).flatMap(([name, value]) => [name, String(value)])]
  return packet(opcode.rrq, new TextEncoder().encode(words.map((word) => `${word}\0`).join('')))
}

/** Confirms all blocks up to `block`. */
export function acknowledgement(block: number): Uint8Array {
  return packet(opcode.ack, twoBytes(block % 65536))
}

/** Ends a transfer. */
export function errorPacket(code: number, text: string): Uint8Array {
  return packet(opcode.error, twoBytes(code), new TextEncoder().encode(`${text}\0`))
}

function packet(kind: number, ...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from([...twoBytes(kind), ...parts.flatMap((part) => [...part])])
}

function twoBytes(value: number): Uint8Array {
  const bytes = new Uint8Array(2)
  new DataView(bytes.buffer).setUint16(0, value)
  return bytes
}
