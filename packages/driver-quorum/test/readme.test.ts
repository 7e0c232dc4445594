import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { quorum } from '@diskgraph/driver-quorum'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
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

  // One copy is exchanged while the disk is in use.
  await graph.setChild('copies', 'children.0', undefined)
  await graph.addNode({ driver: 'memory', size: 65536, nodeName: 'spare' })
  await graph.addChild('copies', 'children', 'spare')
  await disk.read(0, new Uint8Array(512))
  // heard: [['QUORUM_REPORT_BAD', 'spare']]; the read has corrected the spare there
  await disk.read(0, new Uint8Array(512))
  expect(heard).toEqual([['QUORUM_REPORT_BAD', 'spare']])
})
