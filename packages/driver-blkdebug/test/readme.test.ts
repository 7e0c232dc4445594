import { Graph } from '@diskgraph/core'
import { blkdebug } from '@diskgraph/driver-blkdebug'
import { memory } from '@diskgraph/driver-memory'
import { raw } from '@diskgraph/driver-raw'
import { expect, it } from 'vitest'
import { codeOf } from './stack.ts'

it('the example of the README does what it says', async () => {
  await using graph = new Graph({ drivers: [blkdebug, memory, raw] })
  const disk = await graph.add({
    driver: 'raw',
    file: {
      driver: 'blkdebug',
      image: { driver: 'memory', size: 65536 },
      injectError: [{ event: 'write_aio', errno: 'ENOSPC', sector: 8, once: true }],
    },
  })
  expect(await codeOf(disk.write(0, new Uint8Array(512)))).toBe(undefined)
  expect(await codeOf(disk.write(4096, new Uint8Array(512)))).toBe('ENOSPC')
  expect(await codeOf(disk.write(4096, new Uint8Array(512)))).toBe(undefined)
})
