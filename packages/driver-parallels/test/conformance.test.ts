import { parallels } from '@diskgraph/driver-parallels'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

await conformance({ test: { describe, it }, driver: parallels, createOptions: { clusterSize: 65536 } })
await conformance({
  test: { describe, it },
  driver: parallels,
  createOptions: { clusterSize: 63 * 512 },
  operations: 100,
})
