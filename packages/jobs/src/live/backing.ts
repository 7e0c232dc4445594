/** What an image records of its backing file when a job gives it another one. */
import { BlockError, type Change, type Node } from '@diskgraph/core'
import { backingReference, imageFilename, resolveReference } from '@diskgraph/core/internal'
import { unfiltered } from '../disk/chain.ts'

/** Opens what `image` names as its backing file, in `change`; undefined where it names none. */
export async function openRecordedBacking(change: Change, image: Node): Promise<Node | undefined> {
  const { backingFilename, backingFormat } = await image.info()
  if (backingFilename === undefined) return undefined
  const file = { filename: resolveReference(imageFilename(image), backingFilename) }
  const driver = backingFormat === undefined ? {} : { driver: backingFormat }
  return change.openUnchecked({ ...driver, file, readOnly: true, autoReadOnly: true })
}

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
