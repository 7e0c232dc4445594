import { expect, test } from 'vitest'
import { Random } from '../src/index.ts'

test('a stream does not repeat itself, and neighbouring seeds have unlike streams', () => {
  const first = new Set<number>()
  for (const seed of [1, 2, 3, 2 ** 40 + 1]) {
    const random = new Random(seed)
    const words = new Set<number>()
    for (let i = 0; i < 100_000; i++) words.add(random.word())
    expect(words.size).toBe(100_000)
    first.add(new Random(seed).word())
  }
  expect(first.size).toBe(4)
})

test('chances and ranges come out as often as they should', () => {
  const random = new Random(7)
  let heads = 0
  const counts = new Array<number>(10).fill(0)
  for (let i = 0; i < 100_000; i++) {
    if (random.chance(0.2)) heads++
    const index = random.below(10)
    counts[index] = (counts[index] as number) + 1
  }
  expect(heads / 100_000).toBeCloseTo(0.2, 1)
  for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500)
})
