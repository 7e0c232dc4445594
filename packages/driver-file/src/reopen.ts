import { BlockError, type ReopenChange } from '@diskgraph/core/driver'
import { close, open, stat } from './calls.ts'
import { type DescriptorSets, openOfSet } from './descriptor-sets.ts'
import { directUnit } from './direct.ts'
import { fileError, systemCode } from './errors.ts'
import { descriptorPath, openFlags } from './open-flags.ts'

/** An image to open again. */
interface Reopenable {
  readonly fd: number
  readonly filename: string
  readonly size: number
  readonly sets: DescriptorSets | undefined
}

/** A second descriptor of the same file with the flags that `change` asks for. */
export async function prepareReopen(
  image: Reopenable,
  change: ReopenChange,
): Promise<{ fd: number; directUnit: number | undefined }> {
  const { direct } = change.cache
  const fd = await openAgain(image, !change.readOnly, direct)
  try {
    return { fd, directUnit: direct ? directUnit(fd, image.size) : undefined }
  } catch (error) {
    image.sets?.release(fd)
    await close(fd)
    throw error
  }
}

/** Runs `work` on a second, writable descriptor that goes through the page cache, and closes it. */
export async function withBuffered<T>(image: Reopenable, work: (fd: number) => Promise<T>): Promise<T> {
  const fd = await openAgain(image, true, false)
  try {
    return await work(fd)
  } finally {
    image.sets?.release(fd)
    await close(fd)
  }
}

/** Through the old descriptor where the system can do that, so that a renamed file is found; else by name. */
async function openAgain(image: Reopenable, writable: boolean, direct: boolean): Promise<number> {
  const { filename, sets } = image
  if (sets !== undefined) return openOfSet(sets, filename, writable, direct)
  const flags = openFlags(writable, direct)
  try {
    if (process.platform === 'linux') return await open(descriptorPath(image.fd), flags)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw fileError(error, `Could not reopen '${filename}'`)
  }
  try {
    const fd = await open(filename, flags)
    const [old, found] = await Promise.all([stat(image.fd), stat(fd)])
    if (old.dev === found.dev && old.ino === found.ino) return fd
    await close(fd)
  } catch (error) {
    throw fileError(error, `Could not reopen '${filename}'`)
  }
  throw new BlockError('ESTALE', `Could not reopen '${filename}': another file stands there now`)
}
