import { qed } from '@diskgraph/driver-qed'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

await conformance({ test: { describe, it }, driver: qed, createOptions: { clusterSize: 65536 }, refuses: ['shrink'] })
await conformance({
  test: { describe, it },
  driver: qed,
  createOptions: { clusterSize: 4096, tableSize: 1 },
  refuses: ['shrink'],
  operations: 100,
})
