import { rawDeflate, zstd } from '@diskgraph/codecs'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  const cluster = new Uint8Array(65536).fill(7)
  const deflated = await rawDeflate.deflate(cluster, cluster.length)
  const again = await rawDeflate.inflate(deflated ?? cluster, cluster.length)
  const codec = await zstd()
  const frame = await codec.deflate(cluster, cluster.length)
  expect(Buffer.compare(again, cluster)).toBe(0)
  expect(frame?.length).toBeLessThan(100)
})
