import { constants } from 'node:fs'
import { dirname } from 'node:path'
import { close, open, sync } from './calls.ts'
import { fileError, systemCode } from './errors.ts'

/** What systems answer that cannot open or sync a directory, where nothing more can be done. */
const unable = new Set(['EACCES', 'EPERM', 'EISDIR', 'EINVAL', 'ENOTSUP', 'EBADF'])

/** Brings the names in the directory of `filename` to stable storage: syncing a new file does not save its name. */
export async function syncDirectory(filename: string): Promise<void> {
  const directory = dirname(filename)
  try {
    const fd = await open(directory, constants.O_RDONLY)
    try {
      await sync(fd)
    } finally {
      await close(fd)
    }
  } catch (error) {
    if (!unable.has(systemCode(error) ?? '')) throw fileError(error, `cannot sync directory '${directory}'`)
  }
}
