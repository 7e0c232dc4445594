/** Names `/dev/fdset/N`: one of the descriptors that the program was given stands for the file. */
import { errorCodeOf, type OpenContext } from '@diskgraph/core/driver'
import { close, open } from './calls.ts'
import { descriptorPath, openFlags } from './open-flags.ts'

/** The object that a program with such descriptors has, by the id `/dev/fdset`. */
export interface DescriptorSets {
  /** A duplicate of a descriptor in the set that `filename` names, with that access mode. ENOENT and EACCES if there is none. */
  open(filename: string, writable: boolean): number
  /** A duplicate is about to be closed. */
  release(fd: number): void
}

/** The sets, if `filename` names one; undefined elsewhere, and for what an image refers to. */
export function descriptorSets(filename: string, context: OpenContext): DescriptorSets | undefined {
  if (!filename.startsWith('/dev/fdset/') || context.contain !== undefined) return undefined
  try {
    return context.object('descriptor-sets', '/dev/fdset') as DescriptorSets
  } catch (error) {
    // A program without any: it is a name as others are.
    if (errorCodeOf(error) === 'EINVAL') return undefined
    throw error
  }
}

/** A descriptor of the set that `filename` names. Direct access needs an open file of its own, as its flag is the file's. */
export async function openOfSet(
  sets: DescriptorSets,
  filename: string,
  writable: boolean,
  direct: boolean,
): Promise<number> {
  const fd = sets.open(filename, writable)
  if (!direct) return fd
  try {
    return await open(descriptorPath(fd), openFlags(writable, direct))
  } finally {
    sets.release(fd)
    await close(fd)
  }
}
