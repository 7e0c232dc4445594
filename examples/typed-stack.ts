/** A stack of several drivers: two copies that vote, one of which fails now and then. Try to misspell an option. */
import { Graph, type Node } from '@diskgraph/core'
import { blkdebug } from '@diskgraph/driver-blkdebug'
import { memory } from '@diskgraph/driver-memory'
import { quorum } from '@diskgraph/driver-quorum'
import { raw } from '@diskgraph/driver-raw'

await using graph = new Graph({ drivers: [memory, raw, blkdebug, quorum] })
graph.onEvent(({ event, data }) => console.log(`${event}: ${data.nodeName}`))

const disk = await graph.add({
  driver: 'quorum',
  voteThreshold: 1,
  children: [
    { driver: 'raw', nodeName: 'good', offset: 4096, size: 65536, file: { driver: 'memory', size: 2 ** 20 } },
    {
      driver: 'blkdebug',
      nodeName: 'bad',
      image: { driver: 'memory', size: 65536 },
      injectError: [{ event: 'none', iotype: 'write', errno: 5, once: true }],
    },
  ],
})
await disk.write(0, new Uint8Array(512).fill(1))

const draw = (node: Node, depth = 0): void => {
  console.log(`${'  '.repeat(depth)}${node.driver.name}`)
  for (const { node: below } of node.children.values()) draw(below, depth + 1)
}
draw(disk.node)

// QUORUM_REPORT_BAD: bad
// quorum
//   raw
//     memory
//   blkdebug
//     memory
