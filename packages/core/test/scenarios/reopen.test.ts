import { type Disk, Graph, Permission } from '@diskgraph/core'
import { MemoryStorage, memoryDriver } from '@diskgraph/driver-memory'
import { raw } from '@diskgraph/driver-raw'
import { Random } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'
import { inTime, jitter, Load, randomContent, seed, turn } from './load.ts'

const size = 2 ** 20

function setUp(random: Random, content: Uint8Array): { graph: Graph; definition: object } {
  const storage = new MemoryStorage(content.length)
  storage.write(0, content)
  const drivers = [raw, memoryDriver(new Map([['disk', storage]])), jitter(random).driver]
  const file = { driver: 'testkit-fault', file: { driver: 'memory', name: 'disk' } }
  return { graph: new Graph({ drivers }), definition: { driver: 'raw', nodeName: 'disk', file } }
}

it(`options of a node change under load (seed ${seed})`, async () => {
  const random = new Random(seed)
  const content = randomContent(size, random)
  const { graph, definition } = setUp(random, content)
  const disk = await graph.addUnchecked({ ...definition })
  const load = new Load(disk, content, random)
  for (let i = 0; i < 40; i++) {
    await load.go(random.between(5, 30))
    const changes = random.pick([
      { detectZeroes: 'on' },
      { detectZeroes: 'off' },
      { discard: 'unmap', detectZeroes: 'unmap' },
      { discard: 'ignore', detectZeroes: 'off' },
      { cache: { noFlush: true } },
      { cache: { noFlush: false } },
    ])
    await inTime('the reopening', graph.reopen('disk', changes))
  }
  await load.stop()
  await graph.close()
})

it(`a request sees the options before or after a change, never a mix (seed ${seed})`, async () => {
  const random = new Random(seed)
  const half = size / 2
  const { graph, definition } = setUp(random, new Uint8Array(size).fill(1, 0, half).fill(2, half))
  const disk = await graph.addUnchecked({ ...definition, offset: 0, size: half })
  let running = true
  const seen = [0, 0, 0]
  const read = async (): Promise<void> => {
    for (let count = 1; running; count++) {
      const buf = new Uint8Array(random.between(1, 20_000))
      await disk.read(random.below(half - buf.length), buf)
      const value = buf[0] as number
      expect(buf.every((byte) => byte === value)).toBe(true)
      seen[value] = (seen[value] as number) + 1
      if (count % 8 === 0) await turn()
    }
  }
  const readers = Array.from({ length: 6 }, read)
  for (let i = 1; i <= 30; i++) {
    await inTime('the reopening', graph.reopen('disk', { offset: (i % 2) * half, size: half }))
    await turn()
  }
  running = false
  await inTime('the readers', Promise.all(readers))
  expect(Math.min(seen[1] as number, seen[2] as number)).toBeGreaterThan(0)
  await graph.close()
})

it(`a node becomes read-only and writable again under load, when its users allow it (seed ${seed})`, async () => {
  const random = new Random(seed)
  const content = randomContent(size, random)
  const { graph, definition } = setUp(random, content)
  const reader = await graph.addUnchecked({ ...definition }, { permissions: Permission.ConsistentRead })
  let running = true
  const reading = readAlong(reader, () => running)
  let written = content
  for (let i = 0; i < 8; i++) {
    const writer = await graph.attach('disk')
    const load = new Load(writer, written, random)
    await load.go(40)
    await expect(graph.reopen('disk', { readOnly: true })).rejects.toMatchObject({ code: 'EPERM' })
    await load.go(40)
    await load.stop()
    written = load.content
    await writer.close()

    await inTime('the reopening', graph.reopen('disk', { readOnly: true }))
    await expect(graph.attach('disk')).resolves.toMatchObject({ readOnly: true })
    await expect(
      graph.attach('disk', { permissions: Permission.ConsistentRead | Permission.Write }),
    ).rejects.toMatchObject({ code: 'EPERM' })
    await inTime('the reopening', graph.reopen('disk', { readOnly: false }))
  }
  running = false
  expect(await inTime('the reader', reading)).toBeGreaterThan(0)
  await graph.close()
})

/** Reads until `running` says no; returns how often. */
async function readAlong(disk: Disk, running: () => boolean): Promise<number> {
  const buf = new Uint8Array(4096)
  let count = 0
  for (; running(); count++) {
    await disk.read((count * 4096) % size, buf)
    if (count % 8 === 0) await turn()
  }
  return count
}
