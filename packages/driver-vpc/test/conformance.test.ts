import { conformance } from '@diskgraph/driver-testkit'
import { vpc } from '@diskgraph/driver-vpc'
import { describe, it } from 'vitest'

await conformance({
  test: { describe, it },
  driver: vpc,
  createOptions: { forceSize: true },
  size: 3 * 2 ** 20 + 3 * 512,
})
// A fixed image begins with the disk: nothing there tells what it is.
const { probe: _, ...unprobed } = vpc
await conformance({ test: { describe, it }, driver: unprobed, createOptions: { subformat: 'fixed', forceSize: true } })
