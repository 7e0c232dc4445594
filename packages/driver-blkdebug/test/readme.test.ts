import { Graph } from '@diskgraph/core'
import { blkdebug } from '@diskgraph/driver-blkdebug'
import { memory } from '@diskgraph/driver-memory'
import { raw } from '@diskgraph/driver-raw'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using graph = new Graph({ drivers: [blkdebug, memory, raw] })
  const disk = await graph.add({
    driver: 'raw',
    file: {
      driver: 'blkdebug',
      image: { driver: 'memory', size: 65536 },
      injectError: [{ event: 'write_aio', errno: 'ENOSPC', sector: 8, once: true }],
    },
  })
  const codes: string[] = []
  for (const offset of [0, 4096, 4096]) {
    await disk.write(offset, new Uint8Array(512)).catch((error) => codes.push(error.code))
  }
  // codes: ['ENOSPC'], from the second write: the first did not touch sector 8, and the rule applied once
  expect(codes).toEqual(['ENOSPC'])
})
