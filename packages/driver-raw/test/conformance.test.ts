import { raw } from '@diskgraph/driver-raw'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

await conformance({ test: { describe, it }, driver: raw, refuses: ['copyRange'] })

await conformance({
  test: { describe, it },
  driver: raw,
  refuses: ['copyRange', 'grow', 'shrink'],
  setUp({ files, size, storage }) {
    files.put('image').truncate(size + 12_288)
    return { definition: { driver: 'raw', offset: 4097, size, file: storage('image') } }
  },
})
