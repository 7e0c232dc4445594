import { type DirtyBitmap, Graph, type Node, Permission } from '@diskgraph/core'
import { MemoryStorage, memoryDriver } from '@diskgraph/driver-memory'
import { Random } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'
import { inTime, jitter, Load, randomContent, seed } from './load.ts'

const size = 700_001
const granularity = 4096

it(`a disk is copied under load by its dirty bitmap and goes over to the copy in the end (seed ${seed})`, async () => {
  const random = new Random(seed)
  const content = randomContent(size, random)
  const storages = new Map(['disk0', 'disk1', 'disk2'].map((name) => [name, new MemoryStorage(size)]))
  storages.get('disk0')?.write(0, content)
  await using graph = new Graph({ drivers: [memoryDriver(storages), jitter(random).driver] })
  const definition = (name: string) => ({ driver: 'testkit-fault', nodeName: name, file: { driver: 'memory', name } })
  const disk = await graph.addUnchecked(definition('disk0'))
  const load = new Load(disk, content, random)

  for (const [from, to] of [
    ['disk0', 'disk1'],
    ['disk1', 'disk2'],
  ] as const) {
    await load.go(300)
    await graph.addNode(definition(to))
    await inTime(
      'the mirror',
      mirror(graph, from, to, () => load.go(50)),
    )
    expect(disk.nodeName).toBe(to)
    if (graph.find(from)?.explicit) await graph.remove(from)
    expect(graph.find(from)).toBe(undefined)
    expect(disk.node.dirtyBitmaps).toEqual([])
  }
  await load.go(300)
  await load.stop()
  expect([...graph.nodes].map(({ name }) => name)).toContain('disk2')
})

/**
 * Copies `from` to `to` until little is dirty, then the rest while nothing is in flight, and lets the users of `from`
 * go over to `to`. `pause` gives the users time between two passes.
 */
async function mirror(graph: Graph, from: string, to: string, pause: () => Promise<void>): Promise<void> {
  const source = graph.find(from) as Node
  const reader = await graph.attach(from, { permissions: Permission.ConsistentRead })
  const writer = await graph.attach(to, { permissions: Permission.Write })
  // Requests in flight do not know of a bitmap that is added meanwhile.
  const bitmap = await graph.drained(from, async () => source.addDirtyBitmap(granularity))
  bitmap.set(0, size)
  for (let pass = 0; pass < 20 && bitmap.dirtyBytes > size / 10; pass++) {
    await copyDirty(bitmap, reader, writer)
    await pause()
  }
  await graph.change(async (change) => {
    change.admit(reader)
    change.admit(writer)
    await change.drain(from)
    await copyDirty(bitmap, reader, writer)
    source.removeDirtyBitmap(bitmap)
    await change.detach(reader)
    await change.detach(writer)
    await change.replace(from, to)
  })
}

interface Copyable {
  read(offset: number, buf: Uint8Array): Promise<void>
  write(offset: number, buf: Uint8Array): Promise<void>
}

/** One pass over what is dirty. A bit is cleared before its range is read, so a write in between sets it again. */
async function copyDirty(bitmap: DirtyBitmap, from: Copyable, to: Copyable): Promise<void> {
  let at = 0
  for (let run = bitmap.next(at, 65536); run !== undefined; run = bitmap.next(at, 65536)) {
    bitmap.clear(run.offset, run.length)
    const buf = new Uint8Array(run.length)
    await from.read(run.offset, buf)
    await to.write(run.offset, buf)
    at = run.offset + run.length
  }
}
