import { preallocate } from '@diskgraph/driver-preallocate'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

await conformance({
  test: { describe, it },
  driver: preallocate,
  options: { preallocSize: 2 ** 16, preallocAlign: 4096 },
})
