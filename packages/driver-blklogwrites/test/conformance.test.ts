import { blklogwrites } from '@diskgraph/driver-blklogwrites'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

await conformance({
  test: { describe, it },
  driver: blklogwrites,
  refuses: ['zeroes'],
  setUp: ({ files, storage, size, blank }) => {
    const content = Uint8Array.from({ length: size }, (_, i) => (blank ? 0 : (i % 253) + 1))
    const file = files.put('image')
    file.truncate(size)
    if (!blank) file.write(0, content)
    files.put('log')
    return { definition: { driver: 'blklogwrites', file: storage('image'), log: storage('log') }, content }
  },
})
