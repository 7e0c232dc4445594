/** What an image records of its backing file when a job gives it another one. */
import { BlockError, type Node } from '@diskgraph/core'
import { backingReference } from '@diskgraph/core/internal'
import { unfiltered } from '../disk/chain.ts'

/** Records `base` (undefined: none) in `image`, by the name `filename` where one is given. Runs drained. */
export async function recordBacking(image: Node, base: Node | undefined, filename: string | undefined): Promise<void> {
  const change = image.image.changeBacking?.bind(image.image)
  if (change === undefined) {
    throw new BlockError('ENOTSUP', `the image of ${image.describe()} cannot record another backing file`)
  }
  if (base === undefined) return change(undefined, undefined)
  const below = unfiltered(base)
  const format = below.driver.kind === 'protocol' ? 'raw' : below.driver.name
  await change(filename ?? (await backingReference(below)), format)
}
