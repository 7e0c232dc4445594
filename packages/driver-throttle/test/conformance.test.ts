import { conformance } from '@diskgraph/driver-testkit'
import { throttle } from '@diskgraph/driver-throttle'
import { addThrottleGroup } from '@diskgraph/throttle'
import { describe, it } from 'vitest'

await conformance({
  test: { describe, it },
  driver: throttle,
  setUp: ({ graph, files, size, blank, storage }) => {
    // Low enough that many of the requests wait.
    addThrottleGroup(graph, 'group', { limits: { iopsTotal: 20_000, bpsTotal: 2 ** 30 } })
    const content = Uint8Array.from({ length: size }, (_, i) => (blank ? 0 : (i % 253) + 1))
    const file = files.put('image')
    file.truncate(size)
    if (!blank) file.write(0, content)
    return { definition: { driver: 'throttle', throttleGroup: 'group', file: storage('image') }, content }
  },
})
