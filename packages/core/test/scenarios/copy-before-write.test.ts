import { Graph, Permission } from '@diskgraph/core'
import { MemoryStorage, memoryDriver } from '@diskgraph/driver-memory'
import { Random } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'
import { type Copying, copyBeforeWrite } from './copy-before-write.ts'
import { inTime, jitter, Load, randomContent, seed } from './load.ts'

const size = 700_001

it(`a copy-before-write filter goes in and out under load, and its target is the disk as it was (seed ${seed})`, async () => {
  const random = new Random(seed)
  const source = new MemoryStorage(size)
  const content = randomContent(size, random)
  source.write(0, content)
  const storages = new Map([['source', source]])
  let copying: Copying | undefined
  const filter = copyBeforeWrite((opened) => {
    copying = opened
  })
  await using graph = new Graph({ drivers: [filter, memoryDriver(storages), jitter(random).driver] })
  const disk = await graph.addUnchecked({
    driver: 'testkit-fault',
    nodeName: 'disk',
    file: { driver: 'memory', name: 'source' },
  })
  const load = new Load(disk, content, random)

  for (let round = 0; round < 3; round++) {
    await load.go(300)
    const target = new MemoryStorage(size)
    storages.set(`target${round}`, target)
    const definition = { driver: 'testkit-fault', file: { driver: 'memory', name: `target${round}` } }
    await graph.addNode({ ...definition, nodeName: 'target' })
    await inTime(
      'inserting the filter',
      graph.insertFilterUnchecked('disk', { driver: 'copy-before-write', nodeName: 'filter', target: 'target' }),
    )
    expect(disk.nodeName).toBe('filter')
    await load.go(100)
    await copyRest(graph, copying as Copying)
    await load.go(100)
    await inTime('removing the filter', graph.removeFilter('filter'))
    expect(disk.nodeName).toBe('disk')
    expect(graph.find('filter')).toBe(undefined)
    await graph.remove('target')

    const copied = new Uint8Array(size)
    target.read(0, copied)
    expect(Buffer.from(copied).equals((copying as Copying).pointInTime), `round ${round}`).toBe(true)
  }
  await load.stop()
})

/** What a backup job does: it copies what no guest has touched, as a user of the filter that drained sections wait for. */
async function copyRest(graph: Graph, copying: Copying): Promise<void> {
  const job = await graph.attach('filter', { permissions: Permission.ConsistentRead })
  const copies: Promise<void>[] = []
  for (let at = 0; at < copying.pointInTime.length; at += 4096) {
    copies.push(job.whileCounted(() => copying.copy(at)))
    if (copies.length % 16 === 0) await Promise.all(copies)
  }
  await inTime('the copy', Promise.all(copies))
  await job.close()
}
