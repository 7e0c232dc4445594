/** Named dirty bitmaps of nodes, with QEMU's rules and texts. */
import { BlockError, type DirtyBitmap, type Node } from '@diskgraph/core'

/** The bitmap called `name`. ENOENT, with `message`, where there is none. */
export function findBitmap(node: Node, name: string, message = `Dirty bitmap '${name}' not found`): DirtyBitmap {
  const bitmap = node.dirtyBitmaps.find((one) => one.name === name)
  if (bitmap === undefined) throw new BlockError('ENOENT', message, { node: node.name })
  return bitmap
}
