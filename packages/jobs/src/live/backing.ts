/** What an image records of its backing file when a job gives it another one. */
import { BlockError, type Node } from '@diskgraph/core'
import { backingReference } from '@diskgraph/core/internal'

/** Records `base` (undefined: none) in `image`, by the name `filename` where one is given. Runs drained. */
export async function recordBacking(image: Node, base: Node | undefined, filename: string | undefined): Promise<void> {
  const change = image.image.changeBacking?.bind(image.image)
  if (change === undefined) {
    throw new BlockError('ENOTSUP', `the image of ${image.describe()} cannot record another backing file`)
  }
  if (base === undefined) await change(undefined, undefined)
  else
    await change(filename ?? (await backingReference(base)), base.driver.kind === 'protocol' ? 'raw' : base.driver.name)
}
