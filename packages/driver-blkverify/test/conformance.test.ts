import { blkverify } from '@diskgraph/driver-blkverify'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

// Two nodes over one file: what only one of them does is done to both, as a difference between them would fail reads.
await conformance({
  test: { describe, it },
  driver: blkverify,
  refuses: ['zeroes'],
  setUp: ({ files, storage, size }) => {
    files.put('image').truncate(size)
    return { definition: { driver: 'blkverify', raw: storage('image'), test: storage('image') } }
  },
})
