/** What is no argument of a codec. */
import { deflateRawSync, deflateSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import * as browser from '../src/index.browser.ts'
import * as node from '../src/index.ts'

const data = new Uint8Array(100)
const nonsense: readonly (readonly unknown[])[] = [
  [],
  [undefined, 5],
  ['text', 5],
  [new Uint16Array(5), 5],
  [data],
  [data, 0],
  [data, -1],
  [data, 1.5],
  [data, Number.NaN],
  [data, '5'],
]

describe.each([
  ['node', node],
  ['browsers', browser],
])('codecs of %s', (_, { rawDeflate, zlib, zstd, atMost }) => {
  it.each(nonsense)('refuse to inflate %s, %s, saying what is wrong', async (...given) => {
    const refusal = { code: 'EINVAL', message: expect.stringMatching(/^'(data|size)' of inflate/) }
    for (const codec of [rawDeflate, zlib, await zstd()]) {
      await expect(codec.inflate(...(given as [Uint8Array, number]))).rejects.toMatchObject(refusal)
    }
    const here = () => rawDeflate.inflateHere?.(...(given as [Uint8Array, number]))
    if (rawDeflate.inflateHere !== undefined) expect(here).toThrow(/^'(data|size)' of inflateHere/)
  })

  it('refuse to deflate what is no data, and to no limit', async () => {
    const refusal = { code: 'EINVAL' }
    for (const codec of [rawDeflate, await zstd()]) {
      await expect(codec.deflate(5 as never, 5)).rejects.toMatchObject(refusal)
      await expect(codec.deflate(data, undefined as never)).rejects.toMatchObject(refusal)
    }
    await expect(zlib.deflate(undefined as never)).rejects.toMatchObject(refusal)
    await expect(atMost(data as never, 5)).rejects.toMatchObject(refusal)
  })

  it('tell of damage as of an input error', async () => {
    const damage = { code: 'EIO' }
    await expect(rawDeflate.inflate(deflateRawSync(data).fill(255), 100)).rejects.toMatchObject(damage)
    await expect(zlib.inflate(deflateSync(data).fill(255), 100)).rejects.toMatchObject(damage)
    await expect((await zstd()).inflate(data, 100)).rejects.toMatchObject(damage)
  })
})
