import { memory } from '@diskgraph/driver-memory'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

let count = 0

await conformance({
  test: { describe, it },
  driver: memory,
  setUp({ size }) {
    const name = `conformance-${++count}`
    return {
      definition: { driver: 'memory', name, size },
      tearDown: () => memory.remove?.({ name }),
    }
  },
})
