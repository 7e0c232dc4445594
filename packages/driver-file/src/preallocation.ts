import { BlockError, type Preallocation, throwIfAborted } from '@diskgraph/core/driver'
import { Fallocate, native } from '@diskgraph/posix'
import { sync, truncate } from './calls.ts'
import { fileError, isUnsupported } from './errors.ts'
import { type WriteTarget, writeFully } from './transfer.ts'

const chunkSize = 1024 * 1024

/** Sizes of one change. */
export interface Resize {
  readonly from: number
  readonly to: number
  readonly preallocation: Preallocation
}

/**
 * Sets the size of a file. `falloc` reserves the new range, or writes it where that is not possible; `full` writes
 * it. When that fails the old size is set again. A file that was empty gets a first block with data, as in QEMU.
 */
export async function resizeFile(file: WriteTarget, resize: Resize, signal?: AbortSignal): Promise<void> {
  const { from, to, preallocation } = resize
  if (preallocation === 'metadata') {
    throw new BlockError('ENOTSUP', `Unsupported preallocation mode: ${preallocation}`)
  }
  if (preallocation === 'off') {
    await setSize(file, to)
    return allocateFirstBlock(file, resize)
  }
  if (to < from) throw new BlockError('EINVAL', "Preallocation can't be used for shrinking files")
  if (to === from) return
  try {
    const reserved = preallocation === 'falloc' && (await reserve(file, from, to))
    if (!reserved) await writeZeroes(file, from, to, signal)
    else await allocateFirstBlock(file, resize)
  } catch (error) {
    await truncate(file.fd, from).catch((cause: unknown) => {
      throw fileError(cause, `Failed to restore old file length of '${file.filename}'`)
    })
    throw error
  }
}

async function setSize(file: WriteTarget, size: number): Promise<void> {
  try {
    await truncate(file.fd, size)
  } catch (error) {
    throw fileError(error, 'Could not resize file')
  }
}

const firstBlock = 4096

/**
 * Who looks for the alignment of direct access reads the start of a file, and a hole is read at any alignment. It is no
 * failure when there is no room for the block: the file has its size.
 */
async function allocateFirstBlock(file: WriteTarget, { from, to }: Resize): Promise<void> {
  if (from === 0) await writeFully(file, new Uint8Array(Math.min(firstBlock, to)), 0).catch(() => {})
}

/** Reserves a new range; false where that is not possible. */
async function reserve(file: WriteTarget, from: number, to: number): Promise<boolean> {
  const posix = native()
  if (posix === null) return false
  try {
    await posix.fallocate(file.fd, Fallocate.Allocate, from, to - from)
    return true
  } catch (error) {
    if (isUnsupported(error)) return false
    throw fileError(error, 'Could not preallocate new data')
  }
}

async function writeZeroes(file: WriteTarget, from: number, to: number, signal?: AbortSignal): Promise<void> {
  const zeroes = new Uint8Array(Math.min(chunkSize, to - from))
  try {
    for (let at = from; at < to; at += chunkSize) {
      throwIfAborted(signal)
      await writeFully(file, zeroes.subarray(0, Math.min(chunkSize, to - at)), at)
    }
    await sync(file.fd)
  } catch (error) {
    throw describeWriteFailure(error)
  }
}

function describeWriteFailure(error: unknown): BlockError {
  const failure = fileError(error, 'Could not write zeros for preallocation')
  if (failure.code === 'ECANCELED') return failure
  return fileError(failure.cause ?? failure, 'Could not write zeros for preallocation')
}
