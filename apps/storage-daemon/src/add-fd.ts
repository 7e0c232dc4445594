/** `-add-fd`: descriptors that the program inherits, in sets that stand for files. */
import { readlinkSync } from 'node:fs'
import { parseKeyValues, toObject } from '@diskgraph/qapi'
import type { System } from '@diskgraph/qmp'
import { StartError } from './failure.ts'

/** Adds the descriptor that `text` (`fd=3,set=2,opaque=…`) tells of. */
export function addDescriptor({ descriptors }: System, text: string): void {
  const { fd, set, opaque, ...others } = toObject(parseKeyValues(text))
  const [other] = Object.keys(others)
  if (other !== undefined) throw new StartError(`Invalid parameter '${other}'`)
  const number = wholeNumber('fd', fd)
  const id = wholeNumber('set', set)
  if (number < 3) throw new StartError('fd cannot be a standard I/O stream')
  if (!isInherited(number)) throw new StartError('fd is not valid or already in use')
  descriptors.add(number, id, opaque)
}

function wholeNumber(name: string, text: string | undefined): number {
  if (text !== undefined && !/^[+-]?\d{1,15}$/.test(text)) throw new StartError(`Parameter '${name}' expects a number`)
  const number = Number(text ?? -1)
  if (number < 0) throw new StartError(`${name} option is required and must be non-negative`)
  return number
}

/** Node itself has pipes and descriptors of its loop, which were not inherited, nor are of use here. */
function isInherited(fd: number): boolean {
  try {
    return !/^(?:anon_inode|pipe):/.test(readlinkSync(`/proc/self/fd/${fd}`))
  } catch {
    return false
  }
}
