import { conformance } from '@diskgraph/driver-testkit'
import { vmdk } from '@diskgraph/driver-vmdk'
import { describe, it } from 'vitest'

await conformance({ test: { describe, it }, driver: vmdk, createOptions: {} })
await conformance({ test: { describe, it }, driver: vmdk, createOptions: { zeroedGrain: true }, operations: 100 })
