import { Graph } from '@diskgraph/core'
import { MemoryFiles } from '@diskgraph/driver-testkit'
import { vpc } from '@diskgraph/driver-vpc'
import { expect, it } from 'vitest'

const size = 64 * 2 ** 20

it.each([
  ['dynamic', [0, 3 * 2 ** 20, 3 * 2 ** 20 + 5000, size - 512]],
  ['dynamic', []],
  ['fixed', [4096]],
] as const)('measures what an image takes: %s, with data at %j', async (subformat, places) => {
  const files = new MemoryFiles()
  files.put('source').truncate(size)
  files.put('image')
  await using graph = new Graph({ drivers: [vpc, files.driver] })
  const file = { driver: 'testkit-file', name: 'image' }
  const options = { size, subformat, forceSize: true }
  await graph.createUnchecked({ driver: 'vpc', ...options, file })
  const disk = await graph.addUnchecked({ driver: 'vpc', file })
  for (const place of places) await disk.write(place, new Uint8Array(512).fill(1))
  await disk.flush()
  const extents = disk.extents()
  const measured = await vpc.measure?.({ options, size, extents })
  await disk.close()
  expect(measured?.required).toBe(files.file('image').size)
  expect(measured?.fullyAllocated).toBeGreaterThanOrEqual(measured?.required as number)
})
