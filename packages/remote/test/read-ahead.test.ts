import { BlockError } from '@diskgraph/core'
import { abortedError } from '@diskgraph/core/driver'
import { Random, randomSeed } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { patternOf } from '../../driver-http/test/server.ts'
import { ReadAhead, type Sink, type Source } from '../src/reading/read-ahead.ts'

const content = patternOf(300_000)

/** A source that delivers in pieces, now and then fails, and honours its signal. */
class SlowSource implements Source {
  readonly size = content.length
  readonly #random: Random
  readonly #failing: boolean
  running = 0
  most = 0
  bytes = 0

  constructor(random: Random, failing: boolean) {
    this.#random = random
    this.#failing = failing
  }

  async transfer(start: number, end: number, sink: Sink, signal: AbortSignal): Promise<void> {
    this.running++
    this.most = Math.max(this.most, this.running)
    try {
      for (let at = start; at < end; ) {
        for (let i = this.#random.below(4); i > 0; i--) await new Promise((resolve) => setImmediate(resolve))
        if (signal.aborted) throw abortedError(signal)
        if (this.#failing && this.#random.chance(0.03)) throw new BlockError('EIO', 'the source fails')
        const next = Math.min(end, at + this.#random.between(1, 20_000))
        sink(at, content.subarray(at, next))
        this.bytes += next - at
        at = next
      }
    } finally {
      this.running--
    }
  }
}

describe('read-ahead', () => {
  const seed = randomSeed()
  for (const [name, settings, failing] of [
    ['with the defaults', { readahead: 262_144, cacheSize: 4 * 2 ** 20, connections: 4 }, false],
    ['with small blocks and little room', { readahead: 4096, cacheSize: 10_000, connections: 2 }, false],
    ['without any', { readahead: 0, cacheSize: 0, connections: 3 }, false],
    ['over a source that fails', { readahead: 4096, cacheSize: 50_000, connections: 4 }, true],
  ] as const) {
    it(`gives right bytes to random readers, some of whom leave, ${name} (seed ${seed})`, async () => {
      const random = new Random(seed)
      const source = new SlowSource(random.fork(), failing)
      const reads = new ReadAhead(source, settings)
      let failed = 0
      const reader = async (): Promise<void> => {
        let next = 0
        for (let i = 0; i < 60; i++) {
          const length = random.chance(0.1) ? random.between(1, 150_000) : random.between(1, 9000)
          const offset =
            random.chance(0.5) && next + length <= content.length ? next : random.below(content.length - length)
          next = offset + length
          const buf = new Uint8Array(length).fill(0xcc)
          const controller = new AbortController()
          const reading = reads.read(offset, buf, controller.signal)
          if (random.chance(0.2)) setImmediate(() => controller.abort())
          try {
            await reading
            expect(Buffer.compare(buf, content.subarray(offset, offset + length))).toBe(0)
          } catch (error) {
            const { code } = error as BlockError
            expect(failing ? ['ECANCELED', 'EIO'] : ['ECANCELED']).toContain(code)
            expect(code !== 'ECANCELED' || controller.signal.aborted).toBe(true)
            failed++
          }
        }
      }
      await Promise.all([reader(), reader(), reader(), reader(), reader()])
      expect(failed).toBeLessThan(200)
      expect(source.most).toBeLessThanOrEqual(settings.connections)
      await reads.clear()
      expect(source.running).toBe(0)
    })
  }

  it('keeps no more than its room', async () => {
    const source = new SlowSource(new Random(1), false)
    const reads = new ReadAhead(source, { readahead: 10_000, cacheSize: 30_000, connections: 1 })
    const buf = new Uint8Array(10)
    for (const offset of [0, 50_000, 100_000, 150_000]) await reads.read(offset, buf, undefined)
    await expect.poll(() => source.running).toBe(0)
    const before = source.bytes
    for (const offset of [50_000, 100_000, 150_000]) await reads.read(offset + 9000, buf, undefined)
    expect(source.bytes).toBe(before)
    await reads.read(0, buf, undefined)
    expect(source.bytes).toBeGreaterThan(before)
  })

  it('transfers less for reads here and there, and more again when one finds what is there', async () => {
    const source = new SlowSource(new Random(1), false)
    const reads = new ReadAhead(source, { readahead: 65_536, cacheSize: 2 ** 20, connections: 1 })
    const buf = new Uint8Array(10)
    const costs: number[] = []
    for (const offset of [200_000, 120_000, 60_000, 20_000, 20_100, 290_000 - 100_000]) {
      const before = source.bytes
      await reads.read(offset, buf, undefined)
      await expect.poll(() => source.running).toBe(0)
      costs.push(source.bytes - before)
    }
    expect(costs).toEqual([65_536, 32_768, 16_384, 16_384, 0, 10_000])
  })

  it('has one listener on a signal, however many reads wait for it, and tells all of them', async () => {
    const source = new SlowSource(new Random(1), false)
    const reads = new ReadAhead(source, { readahead: 0, cacheSize: 0, connections: 1 })
    const warnings: Error[] = []
    const listen = (warning: Error): void => void warnings.push(warning)
    process.on('warning', listen)
    const controller = new AbortController()
    const reading = Array.from({ length: 30 }, (_, i) => reads.read(i * 5000, new Uint8Array(10), controller.signal))
    const settled = Promise.allSettled(reading)
    controller.abort()
    expect(new Set((await settled).map(({ status }) => status))).toEqual(new Set(['rejected']))
    await expect(reads.read(0, new Uint8Array(10), controller.signal)).rejects.toMatchObject({ code: 'ECANCELED' })
    await new Promise((resolve) => setImmediate(resolve))
    process.off('warning', listen)
    expect(warnings).toEqual([])
  })
})
