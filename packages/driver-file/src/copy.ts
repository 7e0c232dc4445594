import { BlockError, throwIfAborted } from '@diskgraph/core/driver'
import type { Posix } from '@diskgraph/posix'
import { fileError, isUnsupported, systemCode } from './errors.ts'
import type { Target } from './transfer.ts'

/** Longer copies are made in steps, so that an abort is noticed. */
const stepSize = 16 * 1024 * 1024

/** What says that these two files, or these ranges, cannot be copied inside the kernel. */
const unable = new Set(['EXDEV', 'EINVAL', 'EBADF', 'EPERM', 'ETXTBSY', 'EOVERFLOW'])

/** One end of a copy. */
interface CopyEnd {
  readonly file: Target
  readonly offset: number
}

/** Copies a range between two descriptors. ENOTSUP where the kernel cannot; the target's content is undefined then. */
export async function copyBetween(
  posix: Posix,
  from: CopyEnd,
  to: CopyEnd,
  length: number,
  signal?: AbortSignal,
): Promise<void> {
  for (let at = 0; at < length; ) {
    throwIfAborted(signal)
    const step = Math.min(stepSize, length - at)
    const copied = await copyStep(posix, from, to, at, step)
    if (copied === 0) {
      throw new BlockError('ENOTSUP', `'${from.file.filename}' ends before byte ${from.offset + length}`)
    }
    at += copied
  }
}

async function copyStep(posix: Posix, from: CopyEnd, to: CopyEnd, at: number, length: number): Promise<number> {
  try {
    return await posix.copyFileRange(from.file.fd, from.offset + at, to.file.fd, to.offset + at, length)
  } catch (error) {
    const attempt = `cannot copy ${length} bytes from '${from.file.filename}' to '${to.file.filename}'`
    if (!isUnsupported(error) && !unable.has(systemCode(error) ?? '')) throw fileError(error, attempt)
    throw new BlockError('ENOTSUP', `${attempt} inside the kernel`, { cause: error })
  }
}
