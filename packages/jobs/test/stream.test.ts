import { Random } from '@diskgraph/driver-testkit'
import { copyStream } from '@diskgraph/jobs'
import { describe, expect, it } from 'vitest'
import { contentOf, stack } from './stack.ts'

/** `bytes` in pieces of random length. */
async function* piecesOf(bytes: Uint8Array, random: Random): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; ) {
    const length = random.between(1, random.pick([10, 70_000, 3_000_000]))
    yield bytes.subarray(at, at + length)
    at += length
  }
}

function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i % 70_000 < 20_000 ? 0 : i % 251))
}

describe('a stream', () => {
  it.each([0, 1, 511, 512, 65536, 2 ** 21 - 1, 2 ** 21, 2 ** 21 + 1, 5_000_000])(
    'of %i bytes fills a disk that grows with it',
    async (length) => {
      const bytes = pattern(length)
      const end = Math.ceil(length / 512) * 512
      for (const compressed of [false, true]) {
        const { graph, ...make } = stack()
        await using _ = graph
        const target = await make.qcow2('target', { size: 0 })
        await copyStream(piecesOf(bytes, new Random(length)), target, { compressed })
        expect(target.size).toBe(end)
        const content = await contentOf(target)
        expect(Buffer.compare(content.subarray(0, length), bytes)).toBe(0)
        expect(content.subarray(length).every((byte) => byte === 0)).toBe(true)
      }
    },
  )

  it('stores no zeroes, unless it is told to', async () => {
    const { graph, storages, ...make } = stack()
    await using _ = graph
    const zeroes = new Uint8Array(2 ** 20)
    await copyStream(piecesOf(zeroes, new Random(1)), await make.plain('sparse', 0))
    expect(storages.get('sparse')?.allocatedSize).toBe(0)
    await copyStream(piecesOf(zeroes, new Random(1)), await make.plain('full', 0), { sparseSize: 0 })
    expect(storages.get('full')?.allocatedSize).toBe(zeroes.length)
  })

  it('that fails ends the copy with its error, after what is in flight', async () => {
    const { graph, ...make } = stack()
    await using _ = graph
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(5_000_000).fill(1)
      throw new Error('the peer went away')
    }
    await expect(copyStream(broken(), await make.plain('target', 0))).rejects.toThrow('the peer went away')
  })

  it('needs a disk that can grow', async () => {
    const { graph, ...make } = stack()
    await using _ = graph
    const target = await graph.addUnchecked({ driver: 'null-co', size: 1000 })
    await expect(copyStream(piecesOf(pattern(5000), new Random(1)), target)).rejects.toMatchObject({
      code: 'ENOTSUP',
      message: 'the target cannot be resized, and the size of a stream is not known before its end',
    })
    expect(make.storages.size).toBe(0)
  })

  it('tells where the target failed', async () => {
    const { graph, faults, ...make } = stack()
    await using _ = graph
    const target = await make.plain('target', 0, true)
    faults.arm({ nth: 2, code: 'ENOSPC', kinds: ['write'] })
    await expect(copyStream(piecesOf(new Uint8Array(5_000_000).fill(1), new Random(1)), target)).rejects.toMatchObject({
      code: 'ENOSPC',
      request: { operation: 'write', disk: 'target', offset: 2 ** 21 },
    })
  })
})
