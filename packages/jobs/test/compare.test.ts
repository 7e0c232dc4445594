import { Random, randomSeed } from '@diskgraph/driver-testkit'
import { compare, copy } from '@diskgraph/jobs'
import { describe, expect, it } from 'vitest'
import { scribble, stack } from './stack.ts'

const size = 3 * 2 ** 20 + 700

describe('a comparison', () => {
  const seed = randomSeed()
  it.each(Array.from({ length: 8 }, (_, i) => seed + i))(
    'finds nothing in a copy, and any byte that is changed (seed %i)',
    async (own) => {
      const random = new Random(own)
      const { graph, ...make } = stack()
      await using _ = graph
      const first = await make.plain('first', size)
      await scribble(first, random)
      const second = await make.qcow2('second', { size: first.size })
      await copy(first, second)
      expect(await compare(first, second)).toBe(undefined)
      const places = Array.from({ length: 3 }, () => random.below(size)).sort((a, b) => a - b)
      for (const offset of places) {
        const byte = new Uint8Array(1)
        await first.read(offset, byte)
        await first.write(offset, Uint8Array.of((byte[0] as number) ^ 255))
      }
      expect(await compare(first, second)).toEqual({
        kind: 'content',
        offset: Math.floor((places[0] as number) / 512) * 512,
      })
    },
  )

  it('takes a longer disk for the same if the rest of it is zeroes', async () => {
    const { graph, ...make } = stack()
    await using _ = graph
    const [short, long] = [await make.plain('short', 10_000), await make.plain('long', 5_000_000)]
    const told: string[] = []
    const onSizeMismatch = (): void => void told.push('size')
    expect(await compare(short, long, { onSizeMismatch })).toBe(undefined)
    expect(await compare(long, short, { onSizeMismatch })).toBe(undefined)
    expect(told).toEqual(['size', 'size'])
    await long.write(4_000_000, new Uint8Array(1).fill(1))
    expect(await compare(short, long)).toEqual({ kind: 'content', offset: 3_999_744 })
    await long.write(0, new Uint8Array(1).fill(1))
    expect(await compare(short, long, { onSizeMismatch })).toEqual({ kind: 'content', offset: 0 })
    expect(told).toEqual(['size', 'size'])
  })

  it('that is strict looks at sizes and status, too', async () => {
    const { graph, ...make } = stack()
    await using _ = graph
    const first = await make.plain('first', 200_000)
    const longer = await make.plain('longer', 200_001)
    expect(await compare(first, longer, { strict: true })).toEqual({ kind: 'size' })
    const second = await make.plain('second', 200_000)
    await second.write(65536, new Uint8Array(4096))
    expect(await compare(first, second)).toBe(undefined)
    expect(await compare(first, second, { strict: true })).toEqual({ kind: 'status', offset: 0 })
  })

  it('tells a difference that stands before what cannot be read', async () => {
    const { graph, faults, ...make } = stack()
    await using _ = graph
    const first = await make.plain('first', size, true)
    const second = await make.plain('second', size)
    for (const disk of [first, second]) await disk.write(0, new Uint8Array(size).fill(1))
    await second.write(1000, new Uint8Array(1))
    faults.arm({ nth: 2, code: 'EIO', kinds: ['read'], lasting: true })
    expect(await compare(first, second)).toEqual({ kind: 'content', offset: 512 })
    await second.write(1000, new Uint8Array(1).fill(1))
    faults.arm({ nth: 2, code: 'EIO', kinds: ['read'], lasting: true })
    await expect(compare(second, first)).rejects.toMatchObject({
      code: 'EIO',
      request: { operation: 'read', disk: 'second', offset: 2 ** 20 },
    })
  })

  it('tells a difference in content that stands before one in status', async () => {
    const { graph, ...make } = stack()
    await using _ = graph
    const first = await make.plain('first', 200_000)
    const second = await make.plain('second', 200_000)
    for (const disk of [first, second]) await disk.write(0, new Uint8Array(4096).fill(1))
    await second.write(65536, new Uint8Array(4096))
    await first.write(1000, new Uint8Array(1))
    expect(await compare(first, second, { strict: true })).toEqual({ kind: 'content', offset: 512 })
  })
})
