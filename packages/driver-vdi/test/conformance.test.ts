import { conformance } from '@diskgraph/driver-testkit'
import { vdi } from '@diskgraph/driver-vdi'
import { describe, it } from 'vitest'

await conformance({ test: { describe, it }, driver: vdi, size: 3 * 2 ** 20 + 3 * 512 })
await conformance({ test: { describe, it }, driver: vdi, createOptions: { static: true } })
