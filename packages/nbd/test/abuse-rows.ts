/**
 * What clients send that break the rules, or nearly do, and what qemu-nbd 7.2 answers (measured; the texts stand in its
 * replies). A disk has 1 MiB. Replies are told in words, see `reply-words.ts`.
 */
import { words } from './script-server.ts'

/** One client: what it sends behind the greeting, and what it gets until the connection ends. */
export interface AbuseRow {
  readonly sent: Buffer
  readonly replies: readonly string[]
  /** Where ours are others: what comes from a client is made printable. */
  readonly ours?: readonly string[]
}

const flags = words([4, 3])
const option = (number: number, data: Buffer = Buffer.alloc(0), length: number = data.length): Buffer =>
  Buffer.concat([Buffer.from('IHAVEOPT'), words([4, number], [4, length]), data])
const abort = option(2)
const named = (name: string | Buffer, ...requests: number[]): Buffer =>
  Buffer.concat([
    words([4, Buffer.byteLength(name)]),
    Buffer.from(name),
    words([2, requests.length], ...requests.map((one) => [2, one] as const)),
  ])
const request = (command: number, offset: number | bigint, length: number, bits = 0, magic = 0x25609513): Buffer =>
  words([4, magic], [2, bits], [2, command], [8, 7], [8, offset], [4, length])
/** A client that says `sent` while it negotiates, and then leaves in order. */
const negotiating = (...sent: Buffer[]): Buffer => Buffer.concat([flags, ...sent, abort])
/** A client of the empty name, without structured replies. */
const simple = (...sent: Buffer[]): Buffer => Buffer.concat([flags, option(1), ...sent])
/** A client with structured replies and `base:allocation`. */
const context = Buffer.from('base:allocation')
const structured = (...sent: Buffer[]): Buffer =>
  Buffer.concat([
    flags,
    option(8),
    option(10, Buffer.concat([words([4, 0], [4, 1], [4, context.length]), context])),
    option(7, named('')),
    ...sent,
  ])

const left = 'abort: ack'
const chosen = ['structured: ack', 'set context: context', 'set context: ack', 'go: info', 'go: info', 'go: ack']

export const negotiations: Readonly<Record<string, AbuseRow>> = {
  'an option of 4 GiB': { sent: negotiating(option(3, Buffer.alloc(0), 0xffffffff)), replies: [] },
  'a name of 3,000 bytes': {
    sent: negotiating(option(7, named('a'.repeat(3000)))),
    replies: [`go: unknown: export '${'a'.repeat(80)}...' not present`, left],
  },
  'a name of 4,097 bytes': {
    sent: negotiating(option(7, named('a'.repeat(4097)))),
    replies: ['go: invalid: Invalid name length: 4097', left],
  },
  'control characters in a name': {
    sent: negotiating(option(7, named('a\x1b[2J\nb'))),
    replies: ["go: unknown: export 'a\u001b[2J\nb' not present", left],
    ours: ["go: unknown: export 'a\\x1b[2J\\x0ab' not present", left],
  },
  'a name that is longer than its option': {
    sent: negotiating(option(7, words([4, 10], [2, 0]))),
    replies: ['go: invalid: Inconsistent lengths in option go', left],
  },
  'more requests for information than there are': {
    sent: negotiating(option(7, words([4, 0], [2, 2], [2, 3]))),
    replies: ['go: invalid: Inconsistent lengths in option go', left],
  },
  'data behind an option': {
    sent: negotiating(option(7, Buffer.concat([named(''), Buffer.alloc(2)]))),
    replies: ["go: invalid: option 'go' has unexpected length", left],
  },
  'data of a list': {
    sent: negotiating(option(3, Buffer.alloc(4))),
    replies: ["list: invalid: option 'list' has unexpected length", left],
  },
  'an option that nobody knows': {
    sent: negotiating(option(77, Buffer.alloc(100))),
    replies: ['option 77: unsupported: Unsupported option 77 (<unknown>)', left],
  },
  'an option with another magic number': { sent: negotiating(Buffer.alloc(16)), replies: [] },
  'structured replies twice': {
    sent: negotiating(option(8), option(8)),
    replies: ['structured: ack', 'structured: invalid: structured reply already negotiated', left],
  },
  'contexts without structured replies': {
    sent: negotiating(option(10, words([4, 0], [4, 0]))),
    replies: ["set context: invalid: request option 'set meta context' when structured reply is not negotiated", left],
  },
  'TLS of a server without': { sent: negotiating(option(5)), replies: ['starttls: policy: TLS not configured', left] },
  'flags that nobody knows': { sent: words([4, 0xff]), replies: [] },
  'no flags, and options': { sent: Buffer.concat([words([4, 0]), option(3)]), replies: [] },
  'a farewell with data': { sent: Buffer.concat([flags, option(2, Buffer.alloc(10))]), replies: [left] },
}

export const requests: Readonly<Record<string, AbuseRow>> = {
  'a read past the end': { sent: simple(request(0, 1048576 - 512, 1024)), replies: ['simple 22'] },
  'a read behind the end': { sent: simple(request(0, 1048576, 1)), replies: ['simple 22'] },
  'a read around the end of numbers': { sent: simple(request(0, 2n ** 64n - 512n, 1024)), replies: ['simple 22'] },
  'a read of nothing': { sent: simple(request(0, 0, 0)), replies: ['simple 0'] },
  'a read of 64 MiB': { sent: simple(request(0, 0, 2 ** 26)), replies: ['simple 22'] },
  'a read with a flag that nobody knows': { sent: simple(request(0, 0, 512, 0x400)), replies: ['simple 22'] },
  'a read that is not to be fragmented, without structured replies': {
    sent: simple(request(0, 0, 512, 4)),
    replies: ['simple 22'],
  },
  'a write past the end': {
    sent: simple(Buffer.concat([request(1, 1048576 - 4, 8), Buffer.alloc(8)])),
    replies: ['simple 22'],
  },
  'a write of nothing': { sent: simple(request(1, 0, 0)), replies: ['simple 0'] },
  'a write of 64 MiB': { sent: simple(request(1, 0, 2 ** 26)), replies: ['simple 22'] },
  'a command that nobody knows': { sent: simple(request(77, 0, 512)), replies: ['simple 22'] },
  'a request with another magic number': { sent: simple(request(0, 0, 512, 0, 0x12345678)), replies: ['simple 22'] },
  'a flush with a range': { sent: simple(request(3, 512, 512)), replies: ['simple 0'] },
  'a trim of nothing': { sent: simple(request(4, 0, 0)), replies: ['simple 0'] },
  'a trim past the end': { sent: simple(request(4, 0, 0xffffffff)), replies: ['simple 22'] },
  'zeroes past the end': { sent: simple(request(6, 512, 1048576)), replies: ['simple 22'] },
  'zeroes of 2^32 - 1 bytes': { sent: simple(request(6, 0, 0xffffffff)), replies: ['simple 22'] },
  'a cache of 64 MiB': { sent: simple(request(5, 0, 2 ** 26)), replies: ['simple 22'] },
  'status without a context': { sent: simple(request(7, 0, 512)), replies: ['simple 22'] },
  'a structured read past the end': {
    sent: structured(request(0, 1048576, 1)),
    replies: [...chosen, 'chunk 1 error last 22: operation past EOF; From: 1048576, Len: 1, Size: 1048576'],
  },
  'a structured read of nothing': { sent: structured(request(0, 0, 0)), replies: [...chosen, 'chunk 0 last'] },
  'a structured read of 64 MiB': {
    sent: structured(request(0, 0, 2 ** 26)),
    replies: [...chosen, 'chunk 1 error last 22: len (67108864 ) is larger than max len (33554432)'],
  },
  'status of nothing': {
    sent: structured(request(7, 0, 0)),
    replies: [...chosen, 'chunk 1 error last 22: need non-zero length'],
  },
  'status past the end': {
    sent: structured(request(7, 1048575, 2)),
    replies: [...chosen, 'chunk 1 error last 22: operation past EOF; From: 1048575, Len: 2, Size: 1048576'],
  },
  'status of 2^32 - 1 bytes': {
    sent: structured(request(7, 0, 0xffffffff)),
    replies: [...chosen, 'chunk 1 error last 22: operation past EOF; From: 0, Len: 4294967295, Size: 1048576'],
  },
  'a structured flag that nobody knows': {
    sent: structured(request(3, 0, 0, 0x8000)),
    replies: [...chosen, 'chunk 1 error last 22: unsupported flags for command flush (got 0x8000)'],
  },
  'a structured command that nobody knows': {
    sent: structured(request(200, 0, 0)),
    replies: [...chosen, 'chunk 1 error last 22: invalid request type (200) received'],
  },
}
