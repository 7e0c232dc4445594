import type { Disk } from '@diskgraph/core'
import { Random, randomSeed } from '@diskgraph/driver-testkit'
import { expect } from 'vitest'

/** Reads a disk that holds `content`: all of it in order, then `rounds` places at random by each of eight readers at once. */
export async function mustRead(disk: Disk, content: Uint8Array, rounds: number): Promise<void> {
  const whole = new Uint8Array(content.length)
  for (let offset = 0; offset < whole.length; offset += 65536) {
    await disk.read(offset, whole.subarray(offset, Math.min(offset + 65536, whole.length)))
  }
  expect(Buffer.compare(whole, content)).toBe(0)
  const seed = randomSeed()
  const random = new Random(seed)
  const reader = async (): Promise<void> => {
    for (let i = 0; i < rounds; i++) {
      const buf = new Uint8Array(1 + random.below(20_000))
      const offset = random.below(content.length - buf.length)
      await disk.read(offset, buf)
      expect(Buffer.compare(buf, content.subarray(offset, offset + buf.length)), `seed ${seed}`).toBe(0)
    }
  }
  await Promise.all(Array.from({ length: 8 }, reader))
}
