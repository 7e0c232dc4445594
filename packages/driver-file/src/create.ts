import { constants } from 'node:fs'
import { BlockError, type CreateContext, Permission, type Prepared } from '@diskgraph/core/driver'
import { native, type Posix } from '@diskgraph/posix'
import { close, open, stat, truncate, unlink } from './calls.ts'
import { syncDirectory } from './directory.ts'
import { fileError, systemCode } from './errors.ts'
import { ImageLocks, knowsLocks } from './locks.ts'
import { checkKind } from './open.ts'
import { openFlags } from './open-flags.ts'
import type { ResolvedCreateOptions } from './options.ts'
import { resizeFile } from './preallocation.ts'
import { writeFully } from './transfer.ts'

const mode = 0o644

/**
 * Makes a file, or empties one that is there and that nobody uses, and gives it its size. Its name is on stable
 * storage afterwards. On failure a file that was not there before is removed.
 */
export async function createFile(context: CreateContext): Promise<void> {
  const options = context.options as unknown as ResolvedCreateOptions
  const { filename } = options
  const { fd, isNew } = await openNew(filename)
  try {
    try {
      await fillNew(fd, options, context)
    } finally {
      await close(fd)
    }
    await syncDirectory(filename)
  } catch (error) {
    if (isNew) await unlink(filename).catch(() => {})
    throw fileError(error, `Could not create '${filename}'`)
  }
}

async function openNew(filename: string): Promise<{ fd: number; isNew: boolean }> {
  const flags = openFlags(true, false) | constants.O_CREAT
  try {
    return { fd: await open(filename, flags | constants.O_EXCL, mode), isNew: true }
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw fileError(error, `Could not create '${filename}'`)
  }
  try {
    return { fd: await open(filename, flags, mode), isNew: false }
  } catch (error) {
    throw fileError(error, `Could not create '${filename}'`)
  }
}

async function fillNew(fd: number, options: ResolvedCreateOptions, context: CreateContext): Promise<void> {
  const { filename, size, preallocation } = options
  if (!(await stat(fd)).isFile()) {
    throw new BlockError('EINVAL', `'file' driver requires '${filename}' to be a regular file`)
  }
  const posix = native()
  const lock = lockForCreation(posix, fd, filename)
  await truncate(fd, 0)
  applyHints(posix, fd, options, context)
  await resizeFile({ fd, filename, written() {} }, { from: 0, to: size, preallocation }, context.signal)
  // The lock guards the emptying against users of the file and ends with the descriptor.
  lock?.commit()
}

/** Writes and resizes, and lets nobody resize meanwhile. */
function lockForCreation(posix: Posix | null, fd: number, filename: string): Prepared | undefined {
  if (posix === null || !knowsLocks(posix, fd)) return undefined
  const locks = new ImageLocks(posix, fd, filename)
  return locks.prepare(Permission.Write | Permission.Resize, Permission.All & ~Permission.Resize)
}

function applyHints(
  posix: Posix | null,
  fd: number,
  options: Pick<ResolvedCreateOptions, 'nocow' | 'extentSizeHint'>,
  context: CreateContext,
): void {
  try {
    if (options.nocow) posix?.disableCopyOnWrite(fd)
  } catch {
    // Only btrfs has it, and elsewhere there is nothing to turn off.
  }
  const { extentSizeHint } = options
  if (extentSizeHint === undefined || extentSizeHint === 0) return
  if (posix === null) {
    context.warn('Failed to set extent size hint: no native access')
    return
  }
  try {
    posix.setExtentSize(fd, extentSizeHint)
  } catch (error) {
    context.warn(fileError(error, 'Failed to set extent size hint').message)
  }
}

/** Prepares a block device for a new image: it must be large enough, and its first sector is emptied. */
export async function createOnDevice(context: CreateContext): Promise<void> {
  const { filename, size } = context.options as unknown as ResolvedCreateOptions
  let fd: number
  try {
    fd = await open(filename, openFlags(true, false))
  } catch (error) {
    throw fileError(error, `Could not open '${filename}'`)
  }
  try {
    const stats = await stat(fd)
    checkKind('host_device', filename, stats)
    if (stats.isCharacterDevice()) {
      if (size > 0) throw new BlockError('EINVAL', 'Cannot grow device files')
      return
    }
    const posix = native()
    if (posix === null) throw new BlockError('ENOTSUP', `devices need native access: npm install koffi`)
    const lock = lockForCreation(posix, fd, filename)
    if (size > posix.deviceSize(fd)) throw new BlockError('EINVAL', 'Cannot grow device files')
    await writeFully({ fd, filename, written() {} }, new Uint8Array(Math.min(512, size)), 0)
    lock?.commit()
  } catch (error) {
    throw fileError(error, `cannot prepare device '${filename}'`)
  } finally {
    await close(fd)
  }
}

/** Removes a file; the removal is on stable storage afterwards. */
export async function removeFile(filename: string): Promise<void> {
  try {
    await unlink(filename)
  } catch (error) {
    throw fileError(error, `cannot remove '${filename}'`)
  }
  await syncDirectory(filename)
}
