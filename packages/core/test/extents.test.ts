/** Extents of a disk whose size changes while they are walked. */
import { Graph } from '@diskgraph/core'
import { expect, it } from 'vitest'
import { ram, Storage } from './drivers.ts'

it('ends the walk over the extents of a disk that shrinks meanwhile', async () => {
  const storage = new Storage()
  storage.disks.set('d', new Uint8Array(4096))
  let steps = 0
  const blockStatus = async (_: number, length: number) => {
    if (++steps > 100) throw new Error('the walk does not end')
    return { length: Math.min(length, 512), data: steps % 2 === 0, zero: false, allocated: true }
  }
  await using graph = new Graph({ drivers: [ram(storage, {}, { blockStatus })] })
  const disk = await graph.addUnchecked({ driver: 'ram', disk: 'd' })
  let end = 0
  for await (const { offset, length } of disk.extents()) {
    end = offset + length
    if (end === 1024) await disk.truncate(1024)
  }
  expect(end).toBeLessThanOrEqual(1536)
})
