import { ftp } from '@diskgraph/driver-ftp'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'
import { patternOf } from '../../driver-http/test/server.ts'
import { FtpServer } from './server.ts'

for (const options of [{}, { readahead: 0, connections: 4 }, { readahead: 4096, cacheSize: 16384, connections: 1 }]) {
  await conformance({
    test: { describe, it },
    driver: ftp,
    async setUp({ size }) {
      const content = patternOf(size)
      const server = await FtpServer.start({ content })
      return {
        definition: { driver: 'ftp', url: server.url, ...options },
        content,
        tearDown: () => server.close(),
      }
    },
  })
}
