/** Codecs whose arguments are checked, and whose errors are of this project, whatever the platform throws. */
import { BlockError, isBlockError, isBytes } from '@diskgraph/core/driver'
import { kindOf } from '@diskgraph/core/internal'
import type { Codec, Inflater, ZlibCodec } from './codec.ts'

/** `codec`: EINVAL for arguments that are none. */
export function checkedCodec(codec: Codec): Codec {
  const { inflateHere } = codec
  return {
    ...checkedInflater(codec),
    ...(inflateHere && {
      inflateHere(data: Uint8Array, size: number) {
        mustBeData('inflateHere', data)
        mustBeSize('inflateHere', size)
        try {
          return inflateHere(data, size)
        } catch (error) {
          throw explained(error)
        }
      },
    }),
    async deflate(data, limit) {
      mustBeData('deflate', data)
      if (typeof limit !== 'number' || Number.isNaN(limit)) throw wrong('deflate', 'limit', 'a number of bytes', limit)
      return codec.deflate(data, limit)
    },
  }
}

/** The same of zlib. */
export function checkedZlib(zlib: ZlibCodec): ZlibCodec {
  return {
    ...checkedInflater(zlib),
    async deflate(data) {
      mustBeData('deflate', data)
      return zlib.deflate(data)
    },
  }
}

function checkedInflater(inflater: Inflater): Inflater {
  return {
    async inflate(data, size) {
      mustBeData('inflate', data)
      mustBeSize('inflate', size)
      try {
        return await inflater.inflate(data, size)
      } catch (error) {
        throw explained(error)
      }
    },
  }
}

function mustBeData(work: string, data: unknown): void {
  if (!isBytes(data)) throw wrong(work, 'data', 'a Uint8Array', data)
}

function mustBeSize(work: string, size: unknown): void {
  if (!Number.isSafeInteger(size) || (size as number) < 1) throw wrong(work, 'size', 'a whole number from 1', size)
}

function wrong(work: string, argument: string, wanted: string, value: unknown): BlockError {
  const shown = typeof value === 'number' ? value : kindOf(value)
  return new BlockError('EINVAL', `'${argument}' of ${work} is ${wanted}, not ${shown}`)
}

function explained(error: unknown): unknown {
  if (isBlockError(error)) return error
  const reason = error instanceof Error ? error.message : String(error)
  return new BlockError('EIO', `the compressed data is damaged: ${reason}`, { cause: error })
}
