/** Finding files of the origin private file system by their names. */
import { BlockError } from '@diskgraph/core/driver'
import { opfsError } from './errors.ts'

/** The handle of the file `path`, whose names are parted by `/`; with `create` made if it is missing, folders too. */
export async function fileHandle(path: string, create: boolean): Promise<FileSystemFileHandle> {
  const { folder, name } = await place(path, create)
  return folder.getFileHandle(name, { create }).catch((cause) => {
    throw opfsError(`Could not open '${path}'`, cause)
  })
}

/** Deletes the file `path`. */
export async function removeFile(path: string): Promise<void> {
  const { folder, name } = await place(path, false)
  await folder.removeEntry(name).catch((cause) => {
    throw opfsError(`Could not remove '${path}'`, cause)
  })
}

async function place(path: string, create: boolean): Promise<{ folder: FileSystemDirectoryHandle; name: string }> {
  const names = path.split('/')
  if (names.some((name) => name === '' || name === '.' || name === '..')) {
    throw new BlockError('EINVAL', `'${path}' is no path of a file: its names are parted by single slashes`)
  }
  const storage = globalThis.navigator?.storage as StorageManager | undefined
  if (storage?.getDirectory === undefined) {
    throw new BlockError('ENOTSUP', 'there is no origin private file system here', {
      hint: 'it is for pages and workers of https: or localhost, in browsers from 2023 on',
    })
  }
  try {
    let folder = await storage.getDirectory()
    for (const name of names.slice(0, -1)) folder = await folder.getDirectoryHandle(name, { create })
    return { folder, name: names.at(-1) as string }
  } catch (cause) {
    throw opfsError(`Could not open the folder of '${path}'`, cause)
  }
}
