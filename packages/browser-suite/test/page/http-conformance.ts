import { http } from '@diskgraph/driver-http'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'
import { conformanceSize, diskUrl, patternOf } from './disks.ts'

for (const options of [{}, { readahead: 0 }, { readahead: 4096, cacheSize: 16384, connections: 2 }]) {
  await conformance({
    test: { describe, it },
    driver: http,
    size: conformanceSize,
    setUp: () => ({
      definition: { driver: 'http', url: diskUrl('conformance'), ...options },
      content: patternOf(conformanceSize),
    }),
  })
}
