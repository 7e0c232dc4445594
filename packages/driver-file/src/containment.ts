/**
 * Opening a file that an image refers to. The image may be hostile, so the file must be a regular one that lies in
 * the image's own directory after all symbolic links are followed. On Linux what is checked is what is opened: an
 * O_PATH descriptor pins the file without touching it, its type and true name are looked at, and it is opened through
 * the descriptor. Elsewhere the true name is checked and then opened without following a last link.
 */
import { constants } from 'node:fs'
import { sep } from 'node:path'
import { BlockError } from '@diskgraph/core/driver'
import { close, open, readlink, realpath, stat } from './calls.ts'
import { descriptorPath } from './open-flags.ts'

const O_PATH = 0o10000000

/** Opens `filename` inside `directory`; the caller closes the descriptor. System errors pass unchanged. */
export async function openContained(filename: string, directory: string, flags: number): Promise<number> {
  const trueDirectory = await realpath(directory === '' ? '.' : directory)
  if (process.platform !== 'linux') {
    const trueName = await realpath(filename)
    if (!isInside(trueName, trueDirectory)) throw outside(filename, directory)
    return open(trueName, flags | (constants.O_NOFOLLOW ?? 0))
  }
  const pinned = await open(filename, O_PATH)
  try {
    if (!isInside(await readlink(descriptorPath(pinned)), trueDirectory)) throw outside(filename, directory)
    if (!(await stat(pinned)).isFile()) {
      throw new BlockError('EINVAL', `'file' driver requires '${filename}' to be a regular file`)
    }
    return await open(descriptorPath(pinned), flags)
  } finally {
    await close(pinned)
  }
}

function isInside(name: string, directory: string): boolean {
  return name.startsWith(directory.endsWith(sep) ? directory : directory + sep)
}

function outside(filename: string, directory: string): BlockError {
  return new BlockError('EPERM', `refusing to open '${filename}': it lies outside '${directory}', where the image is`, {
    hint: "pass references: 'allow' to new Graph(…) to follow references anywhere",
  })
}
