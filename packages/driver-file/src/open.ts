import { BlockError, type OpenContext } from '@diskgraph/core/driver'
import { native, nativeUnavailable } from '@diskgraph/posix'
import { close, open, stat } from './calls.ts'
import { openContained } from './containment.ts'
import { type DescriptorSets, descriptorSets, openOfSet } from './descriptor-sets.ts'
import { directUnit } from './direct.ts'
import { fileError, systemCode } from './errors.ts'
import { FileImage, type FileKind } from './image.ts'
import { knowsLocks } from './locks.ts'
import { openFlags } from './open-flags.ts'
import type { ResolvedFileOptions } from './options.ts'

/** Opens a file or device as an image. Anything else is refused, without waiting for it. */
export async function openImage(context: OpenContext, kind: FileKind): Promise<FileImage> {
  const options = context.options as unknown as ResolvedFileOptions
  const { filename } = options
  if (filename === '') throw new BlockError('EINVAL', `The '${kind}' block driver requires a file name`)
  if (options.aio === 'native' && !context.cache.direct) {
    throw new BlockError(
      'EINVAL',
      'aio=native was specified, but it requires cache.direct=on, which was not specified.',
    )
  }
  const sets = descriptorSets(filename, context)
  const { fd, readOnly } = await openDescriptor(filename, context, sets)
  try {
    const stats = await stat(fd)
    checkKind(kind, filename, stats)
    // A device of characters has no size, so no request reaches it.
    const isEmpty = stats.isCharacterDevice()
    const size = isEmpty ? 0 : kind === 'file' ? Number(stats.size) : deviceSize(fd, filename)
    if (!Number.isSafeInteger(size)) throw new BlockError('EFBIG', `'${filename}' is larger than 2^53 bytes`)
    if (readOnly && !context.readOnly) context.becomeReadOnly(`'${filename}' cannot be written`)
    const direct = context.cache.direct && !isEmpty
    const posix = isEmpty ? null : native()
    return new FileImage({
      kind,
      fd,
      filename,
      size,
      identity: kind === 'file' ? `${stats.dev}:${stats.ino}` : `${isEmpty ? 'characters' : 'device'}:${stats.rdev}`,
      rangeUnit: kind === 'file' ? 1 : (posix?.logicalBlockSize(fd) ?? 512),
      directUnit: direct ? directUnit(fd, size) : undefined,
      locking: !isEmpty && decideLocking(options.locking, fd, filename, context),
      dropCache: options.dropCache,
      posix,
      sets,
    })
  } catch (error) {
    sets?.release(fd)
    await close(fd)
    throw error
  }
}

async function openDescriptor(
  filename: string,
  context: OpenContext,
  sets: DescriptorSets | undefined,
): Promise<{ fd: number; readOnly: boolean }> {
  try {
    return { fd: await openAs(filename, context, !context.readOnly, sets), readOnly: context.readOnly }
  } catch (error) {
    const mayRead = !context.readOnly && context.autoReadOnly && ['EACCES', 'EROFS'].includes(systemCode(error) ?? '')
    if (!mayRead) throw openError(error, filename, context)
  }
  try {
    return { fd: await openAs(filename, context, false, sets), readOnly: true }
  } catch (error) {
    throw openError(error, filename, context)
  }
}

async function openAs(
  filename: string,
  context: OpenContext,
  writable: boolean,
  sets: DescriptorSets | undefined,
): Promise<number> {
  const { direct } = context.cache
  if (sets !== undefined) return openOfSet(sets, filename, writable, direct)
  const flags = openFlags(writable, direct)
  return context.contain === undefined ? open(filename, flags) : openContained(filename, context.contain, flags)
}

function openError(error: unknown, filename: string, context: OpenContext): BlockError {
  if (systemCode(error) === 'EINVAL' && context.cache.direct) {
    return new BlockError('EINVAL', `Could not open '${filename}': filesystem does not support O_DIRECT`, {
      cause: error,
    })
  }
  const code = systemCode(error)
  if (code === 'ERR_INVALID_ARG_VALUE') {
    return new BlockError('EINVAL', `Could not open '${filename}': Invalid argument`, { cause: error })
  }
  return fileError(error, `Could not open '${filename}'`)
}

/** What a name turned out to stand for. */
interface Kinds {
  isFile(): boolean
  isBlockDevice(): boolean
  isCharacterDevice(): boolean
}

/** Throws EINVAL for what the driver does not open. */
export function checkKind(kind: FileKind, filename: string, stats: Kinds): void {
  if (kind === 'file' && !stats.isFile()) {
    throw new BlockError('EINVAL', `'file' driver requires '${filename}' to be a regular file`, {
      hint: stats.isBlockDevice() ? "open block devices with driver 'host_device'" : undefined,
    })
  }
  if (kind !== 'file' && !stats.isBlockDevice() && !stats.isCharacterDevice()) {
    throw new BlockError('EINVAL', `'${kind}' driver requires '${filename}' to be either a character or block device`)
  }
}

function deviceSize(fd: number, filename: string): number {
  const posix = native()
  if (posix === null) {
    throw new BlockError('ENOTSUP', `cannot ask for the size of device '${filename}': ${nativeUnavailable()}`)
  }
  try {
    return posix.deviceSize(fd)
  } catch (error) {
    throw fileError(error, `cannot ask for the size of device '${filename}'`)
  }
}

let warned = false

/** Whether locks are taken. One warning tells where they are wanted and not to be had. */
function decideLocking(locking: 'auto' | 'on' | 'off', fd: number, filename: string, context: OpenContext): boolean {
  if (locking === 'off') return false
  const posix = native()
  if (posix !== null && knowsLocks(posix, fd)) return true
  const reason = posix === null ? nativeUnavailable() : 'the file system does not know them'
  if (locking === 'on') {
    throw new BlockError('ENOTSUP', `cannot lock '${filename}': image locks are not available (${reason})`, {
      hint: "install the package 'koffi' on Linux, or set locking to 'off'",
    })
  }
  if (posix === null && !warned && process.env.DISKGRAPH_NATIVE !== 'off') {
    warned = true
    context.warn(`image locks and holes are not available: ${reason}; npm install koffi`)
  }
  return false
}
