import { type Disk, Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { VirtualClock } from '@diskgraph/driver-testkit'
import { throttle } from '@diskgraph/driver-throttle'
import { addThrottleGroup, findThrottleGroup } from '@diskgraph/throttle'
import { describe, expect, it } from 'vitest'

const file = { driver: 'memory', size: 2 ** 20 } as const
const block = new Uint8Array(512)

/** A graph in virtual time with the group `g` of one operation per second, and a disk held to it. */
async function onThrottle(work: (disk: Disk, graph: Graph, clock: VirtualClock) => Promise<void>): Promise<void> {
  const clock = new VirtualClock()
  const run = async (): Promise<void> => {
    await using graph = new Graph({ drivers: [memory, throttle], clock })
    addThrottleGroup(graph, 'g', { limits: { iopsTotal: 1 } })
    await work(await graph.add({ driver: 'throttle', throttleGroup: 'g', discard: 'unmap', file }), graph, clock)
  }
  await clock.run(run(), () => undefined)
}

describe('throttle', () => {
  it.each<[string, (disk: Disk) => Promise<void>]>([
    ['reads', (disk) => disk.read(0, new Uint8Array(512))],
    ['writes', (disk) => disk.write(0, block)],
    ['zeroes', (disk) => disk.writeZeroes(0, 512)],
    ['discards', (disk) => disk.discard(0, 512)],
  ])('holds %s', (_, request) =>
    onThrottle(async (disk, _graph, clock) => {
      await request(disk)
      await request(disk)
      expect(clock.now()).toBeCloseTo(900, 0)
    }),
  )

  it('does not hold flushes', () =>
    onThrottle(async (disk, _graph, clock) => {
      await disk.write(0, block)
      await disk.flush()
      expect(clock.now()).toBe(0)
    }))

  it('is shared by the nodes of its group', () =>
    onThrottle(async (disk, graph, clock) => {
      const other = await graph.add({ driver: 'throttle', throttleGroup: 'g', file })
      await disk.write(0, block)
      await other.write(0, block)
      expect(clock.now()).toBeCloseTo(900, 0)
    }))

  it('lets requests that wait go when the node is drained, and holds later ones again', () =>
    onThrottle(async (disk, graph, clock) => {
      await disk.write(0, block)
      const waiting = [1, 2, 3].map((i) => disk.write(i * 512, block))
      await graph.drained(disk.node, async () => undefined)
      await Promise.all(waiting)
      expect(clock.now()).toBe(0)
      await disk.write(0, block)
      expect(clock.now()).toBeCloseTo(3900, 0)
    }))

  it('is refused without its group', () =>
    onThrottle(async (_disk, graph) => {
      const adding = graph.add({ driver: 'throttle', throttleGroup: 'none', file })
      await expect(adding).rejects.toThrow("Throttle group 'none' does not exist")
    }))

  it('follows another group when it is reopened, and gives the first one free', () =>
    onThrottle(async (disk, graph, clock) => {
      addThrottleGroup(graph, 'fast')
      await graph.reopen(disk.node, { throttleGroup: 'fast' })
      for (let i = 0; i < 100; i++) await disk.write(0, block)
      expect(clock.now()).toBe(0)
      graph.objects.delete('g')
      await expect(graph.reopen(disk.node, { throttleGroup: 'g' })).rejects.toThrow("group 'g' does not exist")
      expect(findThrottleGroup(graph, 'fast')?.inUse).toBe(true)
    }))

  it('leaves its group when it is closed', () =>
    onThrottle(async (disk, graph) => {
      expect(() => graph.objects.delete('g')).toThrow("object 'g' is in use")
      await disk.close()
      graph.objects.delete('g')
    }))

  it('ends a request that waits with its signal', () =>
    onThrottle(async (disk) => {
      await disk.write(0, block)
      const ending = new AbortController()
      const waiting = disk.write(512, block, 0, ending.signal)
      ending.abort()
      await expect(waiting).rejects.toMatchObject({ code: 'ECANCELED' })
    }))
})
