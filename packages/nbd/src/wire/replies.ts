/** Replies of a server to requests: what stands before their data. */
import { putU16, putU32, putU64 } from './bytes.ts'
import {
  chunkHeaderLength,
  NBD_REPLY_FLAG_DONE,
  NBD_SIMPLE_REPLY_MAGIC,
  NBD_STRUCTURED_REPLY_MAGIC,
  ReplyType,
} from './protocol.ts'

/** A client's mark of a request, 64 bits that come back in its replies. */
export interface Cookie {
  readonly high: number
  readonly low: number
}

/** Length of what stands before the data of a chunk of data, in bytes. */
export const dataHeaderLength = chunkHeaderLength + 8
/** Length of a chunk that tells of a hole, in bytes. */
export const holeChunkLength = chunkHeaderLength + 12

/** Writes a simple reply's header, 16 bytes. */
export function putSimpleReply(bytes: Uint8Array, at: number, error: number, { high, low }: Cookie): void {
  putU32(bytes, at, NBD_SIMPLE_REPLY_MAGIC)
  putU32(bytes, at + 4, error)
  putU32(bytes, at + 8, high)
  putU32(bytes, at + 12, low)
}

/** Writes the header of a chunk, 20 bytes. */
export function putChunkHeader(
  bytes: Uint8Array,
  at: number,
  type: number,
  cookie: Cookie,
  length: number,
  done: boolean,
): void {
  putU32(bytes, at, NBD_STRUCTURED_REPLY_MAGIC)
  putU16(bytes, at + 4, done ? NBD_REPLY_FLAG_DONE : 0)
  putU16(bytes, at + 6, type)
  putU32(bytes, at + 8, cookie.high)
  putU32(bytes, at + 12, cookie.low)
  putU32(bytes, at + 16, length)
}

/** Writes what stands before `length` bytes of data from `offset` of the export on. */
export function putDataHeader(
  bytes: Uint8Array,
  at: number,
  cookie: Cookie,
  offset: number,
  length: number,
  done: boolean,
): void {
  putChunkHeader(bytes, at, ReplyType.NBD_REPLY_TYPE_OFFSET_DATA, cookie, 8 + length, done)
  putU64(bytes, at + chunkHeaderLength, offset)
}

/** Writes a whole chunk that tells of a hole. */
export function putHoleChunk(
  bytes: Uint8Array,
  at: number,
  cookie: Cookie,
  offset: number,
  length: number,
  done: boolean,
): void {
  putChunkHeader(bytes, at, ReplyType.NBD_REPLY_TYPE_OFFSET_HOLE, cookie, 12, done)
  putU64(bytes, at + chunkHeaderLength, offset)
  putU32(bytes, at + chunkHeaderLength + 8, length)
}

/** Length of a chunk that tells of an error in `textLength` bytes. */
export function errorChunkLength(textLength: number): number {
  return chunkHeaderLength + 6 + textLength
}

/** Writes a whole chunk that tells of an error; `text` is at most 4,096 bytes. */
export function putErrorChunk(bytes: Uint8Array, at: number, cookie: Cookie, error: number, text: Uint8Array): void {
  putChunkHeader(bytes, at, ReplyType.NBD_REPLY_TYPE_ERROR, cookie, 6 + text.length, true)
  putU32(bytes, at + chunkHeaderLength, error)
  putU16(bytes, at + chunkHeaderLength + 4, text.length)
  bytes.set(text, at + chunkHeaderLength + 6)
}

/** Length of a chunk with `words` of status. */
export function statusChunkLength(words: readonly number[]): number {
  return chunkHeaderLength + 4 + words.length * 4
}

/** Writes a whole chunk of status: `words` are lengths and flags by turns. */
export function putStatusChunk(
  bytes: Uint8Array,
  at: number,
  cookie: Cookie,
  contextId: number,
  words: readonly number[],
  done: boolean,
): void {
  putChunkHeader(bytes, at, ReplyType.NBD_REPLY_TYPE_BLOCK_STATUS, cookie, 4 + words.length * 4, done)
  putU32(bytes, at + chunkHeaderLength, contextId)
  for (let i = 0; i < words.length; i++) putU32(bytes, at + chunkHeaderLength + 4 + i * 4, words[i] as number)
}
