import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { throttle } from '@diskgraph/driver-throttle'
import { addThrottleGroup } from '@diskgraph/throttle'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using graph = new Graph({ drivers: [memory, throttle] })
  const group = addThrottleGroup(graph, 'slow', { limits: { bpsTotal: 2 ** 20 } })
  const file = { driver: 'memory', size: 2 ** 20 } as const
  const disk = await graph.add({ driver: 'throttle', throttleGroup: 'slow', file })
  await disk.write(0, new Uint8Array(65536))
  group.change({ bpsTotal: 2 ** 30 })
  expect(group.limits).toMatchObject({ bpsTotal: 2 ** 30 })
})
