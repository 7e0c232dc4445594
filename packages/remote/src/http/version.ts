/** Which version of a file on a server an answer belongs to: its size and what HTTP calls validators. */
import type { Reply } from './transport.ts'

/** See the top of the file. */
export interface Version {
  /** Size of the whole file in bytes. */
  readonly size: number
  readonly etag: string | undefined
  readonly lastModified: string | undefined
  /** Validator for If-Range: the server sends a part of this version, or says that there is another. */
  readonly ifRange: string | undefined
}

/** The version that a first answer tells. */
export function versionOf(reply: Reply, size: number): Version {
  const etag = reply.header('etag')
  const lastModified = reply.header('last-modified')
  return { size, etag, lastModified, ifRange: strongValidator(etag, lastModified, reply.header('date')) }
}

/**
 * If-Range takes strong validators only (RFC 9110, 13.1.5): an ETag that is not marked as weak, or a date of change
 * that lies at least a second before the answer, so that no second change can share it.
 */
function strongValidator(etag?: string, lastModified?: string, date?: string): string | undefined {
  if (etag !== undefined) return etag.startsWith('W/') ? undefined : etag
  if (lastModified === undefined || date === undefined) return undefined
  return Date.parse(date) - Date.parse(lastModified) >= 1000 ? lastModified : undefined
}

/** In what `reply` differs from `version`, in words; undefined if it does not say anything else. */
export function difference(version: Version, reply: Reply, size: number): string | undefined {
  const etag = reply.header('etag')
  const lastModified = reply.header('last-modified')
  if (size !== version.size) return `its size was ${version.size} and is ${size}`
  if (etag !== undefined && etag !== version.etag) return 'its ETag is another'
  if (lastModified !== undefined && lastModified !== version.lastModified) return 'its date of change is another'
  return undefined
}
