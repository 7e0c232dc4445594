import { blkdebug } from '@diskgraph/driver-blkdebug'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

await conformance({ test: { describe, it }, driver: blkdebug })

await conformance({
  test: { describe, it },
  driver: blkdebug,
  options: {
    align: 512,
    maxTransfer: 8192,
    optWriteZero: 4096,
    maxWriteZero: 65536,
    optDiscard: 4096,
    maxDiscard: 65536,
  },
})
