import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { quorum } from '@diskgraph/driver-quorum'
import { expect, it } from 'vitest'
import { firstByte } from './stack.ts'

it('the example of the README does what it says', async () => {
  await using graph = new Graph({ drivers: [memory, quorum] })
  const heard: unknown[] = []
  graph.onEvent(({ event, data }) => heard.push([event, data.nodeName]))
  const disk = await graph.add({
    driver: 'quorum',
    nodeName: 'copies',
    voteThreshold: 2,
    rewriteCorrupted: true,
    children: [
      { driver: 'memory', size: 65536 },
      { driver: 'memory', size: 65536 },
      { driver: 'memory', size: 65536 },
    ],
  })
  await disk.write(0, new Uint8Array(512).fill(1))
  await graph.setChild('copies', 'children.0', undefined)
  await graph.addNode({ driver: 'memory', size: 65536, nodeName: 'spare' })
  await graph.addChild('copies', 'children', 'spare')
  expect(await firstByte(disk)).toBe(1)
  expect(await firstByte(disk)).toBe(1)
  expect(heard).toEqual([['QUORUM_REPORT_BAD', 'spare']])
})
