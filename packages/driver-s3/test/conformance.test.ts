import { s3 } from '@diskgraph/driver-s3'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'
import { patternOf, TestServer } from '../../driver-http/test/server.ts'

await conformance({
  test: { describe, it },
  driver: s3,
  async setUp({ size }) {
    const content = patternOf(size)
    const server = await TestServer.start({ content })
    return {
      definition: { driver: 's3', url: 's3://bucket/disk.img', endpoint: server.origin, anonymous: true },
      content,
      tearDown: () => server.close(),
    }
  },
})
