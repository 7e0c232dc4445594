/** What the commands of clients do with the disk, those without an answer of their own. */
import type { Root } from '@diskgraph/core'
import { done, Flag } from '@diskgraph/core/driver'
import { Command, CommandFlag } from '../wire/protocol.ts'
import type { Request } from './request.ts'

/** Bytes that are read at a time for `NBD_CMD_CACHE`. */
export const cachePiece = 1024 * 1024

/** Does what `request` asks for. */
export function perform(
  root: Root,
  request: Request,
  payload: Uint8Array | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { command, offset, length, flags } = request
  const fua = (flags & CommandFlag.NBD_CMD_FLAG_FUA) !== 0
  if (command === Command.NBD_CMD_FLUSH) return root.flush(signal)
  if (length === 0) return done
  switch (command) {
    case Command.NBD_CMD_WRITE:
      return root.write(offset, payload as Uint8Array, fua ? Flag.Fua : 0, signal)
    case Command.NBD_CMD_TRIM:
      return fua
        ? root.discard(offset, length, signal).then(() => root.flush(signal))
        : root.discard(offset, length, signal)
    case Command.NBD_CMD_WRITE_ZEROES: {
      const unmap = (flags & CommandFlag.NBD_CMD_FLAG_NO_HOLE) === 0 ? Flag.MayUnmap : 0
      const fast = (flags & CommandFlag.NBD_CMD_FLAG_FAST_ZERO) !== 0 ? Flag.NoFallback : 0
      return root.writeZeroes(offset, length, (fua ? Flag.Fua : 0) | unmap | fast, signal)
    }
    default:
      return cache(root, offset, length, signal)
  }
}

/** Reads without an answer, so that what lies below may keep it. */
async function cache(root: Root, offset: number, length: number, signal: AbortSignal): Promise<void> {
  const buf = new Uint8Array(Math.min(length, cachePiece))
  for (let at = 0; at < length; at += buf.length) {
    await root.read(offset + at, buf.subarray(0, Math.min(buf.length, length - at)), 0, signal)
  }
}

const failures: Readonly<Record<number, string>> = {
  [Command.NBD_CMD_READ]: 'reading from file failed',
  [Command.NBD_CMD_WRITE]: 'writing to file failed',
  [Command.NBD_CMD_FLUSH]: 'flush failed',
  [Command.NBD_CMD_TRIM]: 'discard failed',
  [Command.NBD_CMD_CACHE]: 'caching data failed',
  [Command.NBD_CMD_WRITE_ZEROES]: 'writing to file failed',
}

/** What clients are told of a command that fails; undefined where the error itself says it. */
export function failureText(command: number): string | undefined {
  return failures[command]
}
