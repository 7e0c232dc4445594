/**
 * Whether only the metadata of an image was preallocated, so that many of its clusters are holes in the file: then
 * the file is asked about zeroes, which would cost too much otherwise. Found out once, from the refcounts.
 */

import { Yielder } from '@diskgraph/clusters'
import { type ChildHandle, errorCodeOf } from '@diskgraph/core/driver'
import type { Geometry } from '../header/layout.ts'
import type { MetadataStore } from '../tables/metadata.ts'
import { refcountAt } from './entries.ts'
import type { Refcounts } from './refcounts.ts'

/** What the answer is found in. */
interface CountedImage {
  readonly file: ChildHandle
  readonly geometry: Geometry
  readonly store: MetadataStore
  readonly refcounts: Refcounts
}

/** See the top of this file. */
export class MetadataPreallocation {
  private readonly image: CountedImage
  private answer: Promise<boolean> | undefined

  constructor(image: CountedImage) {
    this.image = image
  }

  /** Whether clearly more clusters are allocated than the file has blocks for. */
  async detect(signal: AbortSignal | undefined): Promise<boolean> {
    for (;;) {
      this.answer ??= this.begin(signal)
      try {
        return await this.answer
      } catch (error) {
        // It is found out once for all who ask: where another one has given up, this one goes on.
        if (errorCodeOf(error) !== 'ECANCELED' || signal?.aborted === true) throw error
      }
    }
  }

  private begin(signal: AbortSignal | undefined): Promise<boolean> {
    return hasFewBlocks(this.image, signal).catch((error) => {
      const code = errorCodeOf(error)
      if (code !== 'ENOTSUP') this.answer = undefined
      if (code === 'ECANCELED') throw error
      return false
    })
  }
}

/** Takes as long as there are refcount blocks, however long the file is. */
async function hasFewBlocks(image: CountedImage, signal: AbortSignal | undefined): Promise<boolean> {
  const { file, geometry, refcounts, store } = image
  const { allocatedSize } = await file.info()
  if (allocatedSize === undefined) return false
  const blocks = Math.floor(allocatedSize / geometry.clusterSize)
  const threshold = Math.max(Math.floor((blocks * 10) / 9), blocks + 2)
  const clusters = Math.ceil(file.size / geometry.clusterSize)
  if (clusters < threshold) return false
  await store.loadRefcountTable()
  const { refcountBlockEntries: entries } = geometry
  const yielder = new Yielder(signal)
  let allocated = 0
  for (let index = 0; index < refcounts.tableEntries && index * entries < clusters; index++) {
    const turn = yielder.step()
    if (turn !== undefined) await turn
    if (refcounts.blockOffset(index) === 0) continue
    const first = index * entries
    await refcounts.get(first)
    allocated += countUsed(image, index, Math.min(entries, clusters - first))
    if (allocated >= threshold) return true
    const counted = yielder.step(entries)
    if (counted !== undefined) await counted
  }
  return false
}

/** How many of the first `limit` clusters of a refcount block, which was just read, are in use. */
function countUsed(image: CountedImage, index: number, limit: number): number {
  const block = image.store.blocks.peek(image.refcounts.blockOffset(index))
  if (block === undefined) return 0
  let used = 0
  for (let i = 0; i < limit; i++) if (refcountAt(block, image.geometry.refcountOrder, i) !== 0) used++
  return used
}
