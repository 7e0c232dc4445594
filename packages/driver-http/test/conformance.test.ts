import { http } from '@diskgraph/driver-http'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'
import { patternOf, TestServer } from './server.ts'

for (const options of [{}, { readahead: 0 }, { readahead: 4096, cacheSize: 16384, connections: 2 }]) {
  await conformance({
    test: { describe, it },
    driver: http,
    async setUp({ size }) {
      const content = patternOf(size)
      const server = await TestServer.start({ content })
      return {
        definition: { driver: 'http', url: server.url, ...options },
        content,
        tearDown: () => server.close(),
      }
    },
  })
}
