import { conformance } from '@diskgraph/driver-testkit'
import { tftp } from '@diskgraph/driver-tftp'
import { describe, it } from 'vitest'
import { patternOf } from '../../driver-http/test/server.ts'
import { TftpServer } from './server.ts'

await conformance({
  test: { describe, it },
  driver: tftp,
  async setUp({ size }) {
    const content = patternOf(size)
    const server = await TftpServer.start(content)
    return { definition: { driver: 'tftp', url: server.url }, content, tearDown: () => server.close() }
  },
})
