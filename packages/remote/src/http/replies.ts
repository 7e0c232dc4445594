/** What the answer to a request for a range means. Everything that is not exactly what was asked for is an error. */
import { BlockError, type ErrorCode } from '@diskgraph/core/driver'
import { Interruption } from '../reading/interruption.ts'
import type { HttpSettings } from './settings.ts'
import type { Reply } from './transport.ts'
import { difference, type Version, versionOf } from './version.ts'

/** QEMU's words for a server that sends whole files only. */
const noRanges = "Server does not support 'range' (byte ranges)."

/** Statuses that may pass: the request is repeated, after the time that the server asks for. */
const passing = new Set([408, 429, 502, 503, 504])

const codes: Readonly<Record<number, ErrorCode>> = {
  401: 'EACCES',
  403: 'EACCES',
  404: 'ENOENT',
  407: 'EACCES',
  410: 'ENOENT',
  451: 'EACCES',
}

/**
 * Checks the answer to a request for the bytes from `start` to before `end`, and returns the version it belongs to.
 * Its body is that range, cut off at the end of the file if `version` was not known yet.
 * @throws ESTALE when the file is not `version` any more; Interruption when the request may be repeated.
 */
export function checkReply(
  reply: Reply,
  { at: start, end }: { readonly at: number; readonly end: number },
  version: Version | undefined,
  settings: Pick<HttpSettings, 'clock' | 'refusalHint'>,
): Version {
  switch (reply.status) {
    case 206:
      return checkPart(reply, start, end, version)
    case 200:
      return checkWhole(reply, version)
    case 416:
      return checkUnsatisfiable(reply, version)
    case 412:
      throw changed('it no longer matches')
  }
  throw refusal(reply, settings.clock.wallTime(), settings.refusalHint)
}

/** The error of a file that is not the one that was opened. */
function changed(how: string): BlockError {
  return new BlockError('ESTALE', `the file on the server has changed: ${how}`, {
    hint: 'close the node and open it again',
  })
}

function checkPart(reply: Reply, start: number, end: number, version: Version | undefined): Version {
  checkEncoding(reply)
  const given = parseContentRange(reply)
  checkVersion(reply, given.size, version)
  const last = Math.min(end, given.size) - 1
  if (given.first !== start || given.last !== last) {
    throw new BlockError(
      'EIO',
      `the server sends bytes ${given.first}-${given.last} where ${start}-${last} were asked for`,
    )
  }
  checkLength(reply, last + 1 - start)
  return version ?? versionOf(reply, given.size)
}

function checkVersion(reply: Reply, size: number, version: Version | undefined): void {
  const how = version === undefined ? undefined : difference(version, reply, size)
  if (how !== undefined) throw changed(how)
}

function checkEncoding(reply: Reply): void {
  const encoding = reply.header('content-encoding')
  if (encoding === undefined || /^\s*identity\s*$/i.test(encoding)) return
  throw new BlockError('ENOTSUP', `the server sends the file in the encoding '${encoding.slice(0, 40)}'`)
}

function parseContentRange(reply: Reply): { first: number; last: number; size: number } {
  const text = reply.header('content-range')
  if (text === undefined) {
    const hint = reply.filtered ? 'let it send Access-Control-Expose-Headers: content-range, etag' : undefined
    throw new BlockError('EIO', 'the server sends a part without saying which (Content-Range)', { hint })
  }
  const match = /^\s*bytes\s+(\d+)-(\d+)\/(\d+|\*)\s*$/i.exec(text)
  if (match === null) throw new BlockError('EIO', `the Content-Range of the server makes no sense`)
  if (match[3] === '*') throw new BlockError('ENOTSUP', "Server didn't report file size.")
  const [first, last, size] = [match[1], match[2], match[3]].map(Number) as [number, number, number]
  if (!Number.isSafeInteger(size)) throw new BlockError('EFBIG', 'the file on the server is too large')
  return { first, last, size }
}

/** A length is optional; a wrong one means that the body is not the range, whatever its range says. */
function checkLength(reply: Reply, expected: number): void {
  const text = reply.header('content-length')
  if (text === undefined || Number(text) === expected) return
  throw new BlockError('EIO', `the server sends ${text.slice(0, 40)} bytes for a range of ${expected}`)
}

/** A whole file instead of a part: the server knows no ranges, or it sends another version (that is If-Range's way). */
function checkWhole(reply: Reply, version: Version | undefined): Version {
  const length = reply.header('content-length')
  if (version === undefined) {
    if (length === '0') return versionOf(reply, 0)
    throw new BlockError('ENOTSUP', noRanges)
  }
  if (version.ifRange !== undefined) throw changed('the server sends another version')
  checkVersion(reply, length === undefined ? version.size : Number(length), version)
  throw new BlockError('EIO', noRanges)
}

/** An empty file has no range at all; any other has the ranges that are asked for. */
function checkUnsatisfiable(reply: Reply, version: Version | undefined): Version {
  const size = /^\s*bytes\s+\*\/(\d+)\s*$/i.exec(reply.header('content-range') ?? '')?.[1]
  if (version !== undefined) throw changed(`its size was ${version.size} and is ${size ?? 'smaller'}`)
  if (size !== undefined && Number(size) === 0) return versionOf(reply, 0)
  throw new BlockError('EIO', 'The requested URL returned error: 416')
}

function refusal(reply: Reply, now: number, forbidden: string | undefined): BlockError | Interruption {
  const { status } = reply
  const hints: Readonly<Record<number, string | undefined>> = {
    401: hintOfChallenge(reply.header('www-authenticate')),
    403: forbidden,
    407: 'give proxy-username and proxy-password-secret, or other ones',
  }
  const options = { hint: hints[status] }
  const error = new BlockError(codes[status] ?? 'EIO', `The requested URL returned error: ${status}`, options)
  return passing.has(status) ? new Interruption(error, { wait: retryAfter(reply.header('retry-after'), now) }) : error
}

function hintOfChallenge(challenge = ''): string {
  return /(^|,)\s*(basic|digest)\b/i.test(challenge) || challenge === ''
    ? 'give username and password-secret, or other ones'
    : 'the server offers neither Basic nor Digest authentication, the only ones that are supported'
}

/** Milliseconds of a Retry-After header, which gives seconds or a date. */
function retryAfter(text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined
  const ms = /^\s*\d+\s*$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined
}
