import { type Disk, Graph } from '@diskgraph/core'
import { delay } from '@diskgraph/driver-delay'
import { memory } from '@diskgraph/driver-memory'
import { VirtualClock } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const file = { driver: 'memory', size: 2 ** 20 } as const
const block = new Uint8Array(512)
const delays = { readDelay: 10, writeDelay: 200, zeroesDelay: 3000, discardDelay: 40_000, flushDelay: 500_000 }

/** A disk in virtual time that holds each kind of request for a time of its own. */
async function onDelay(work: (disk: Disk, clock: VirtualClock, graph: Graph) => Promise<void>): Promise<void> {
  const clock = new VirtualClock()
  const run = async (): Promise<void> => {
    await using graph = new Graph({ drivers: [memory, delay], clock })
    await work(await graph.add({ driver: 'delay', ...delays, discard: 'unmap', file }), clock, graph)
  }
  await clock.run(run(), () => undefined)
}

describe('delay', () => {
  it.each<[string, number, (disk: Disk) => Promise<void>]>([
    ['reads', delays.readDelay, (disk) => disk.read(0, new Uint8Array(512))],
    ['writes', delays.writeDelay, (disk) => disk.write(0, block)],
    ['zeroes', delays.zeroesDelay, (disk) => disk.writeZeroes(0, 512)],
    ['discards', delays.discardDelay, (disk) => disk.discard(0, 512)],
  ])('holds %s for their time, each for itself', (_, time, request) =>
    onDelay(async (disk, clock) => {
      await Promise.all([request(disk), request(disk)])
      expect(clock.now()).toBe(time)
    }),
  )

  it('holds a flush of what was written', () =>
    onDelay(async (disk, clock) => {
      await disk.write(0, block)
      await disk.flush()
      expect(clock.now()).toBe(delays.writeDelay + delays.flushDelay)
    }))

  it('lets requests go when the node is drained, and holds later ones again', () =>
    onDelay(async (disk, clock, graph) => {
      const writes = [disk.write(0, block), disk.write(512, block)]
      await graph.drained(disk.node, async () => undefined)
      await Promise.all(writes)
      expect(clock.now()).toBe(0)
      await disk.write(0, block)
      expect(clock.now()).toBe(delays.writeDelay)
    }))

  it('ends a request that is held with its signal, and nothing is written', () =>
    onDelay(async (disk, clock) => {
      const ending = new AbortController()
      const write = disk.write(0, block.slice().fill(1), 0, ending.signal)
      ending.abort()
      await expect(write).rejects.toMatchObject({ code: 'ECANCELED' })
      expect(clock.now()).toBe(0)
      const buf = new Uint8Array(512)
      await disk.read(0, buf)
      expect(buf).toEqual(block)
    }))

  it('takes other times when it is reopened, none by default', () =>
    onDelay(async (disk, clock, graph) => {
      await graph.reopen(disk.node, { readDelay: 7 })
      await disk.read(0, new Uint8Array(512))
      expect(clock.now()).toBe(7)
      await disk.write(0, block)
      expect(clock.now()).toBe(7 + delays.writeDelay)
      const plain = await graph.add({ driver: 'delay', file })
      await plain.write(0, block)
      await plain.read(0, new Uint8Array(512))
      await plain.flush()
      expect(clock.now()).toBe(7 + delays.writeDelay)
    }))

  it('refuses times that no timer counts', () =>
    onDelay(async (_disk, _clock, graph) => {
      await expect(graph.add({ driver: 'delay', file, readDelay: -1 })).rejects.toThrow(/read-?delay/i)
      await expect(graph.add({ driver: 'delay', file, writeDelay: 1e12 })).rejects.toThrow(/write-?delay/i)
    }))
})
