import { conformance } from '@diskgraph/driver-testkit'
import { vhdx } from '@diskgraph/driver-vhdx'
import { describe, it } from 'vitest'

await conformance({
  test: { describe, it },
  driver: vhdx,
  createOptions: { blockSize: 2 ** 20 },
  size: 3 * 2 ** 20 + 512,
})
await conformance({
  test: { describe, it },
  driver: vhdx,
  createOptions: { subformat: 'fixed', blockSize: 2 ** 20 },
  operations: 100,
})
