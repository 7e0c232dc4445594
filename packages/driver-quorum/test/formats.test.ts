import { Graph } from '@diskgraph/core'
import { blkdebug } from '@diskgraph/driver-blkdebug'
import { MemoryStorage, memoryDriver } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { quorum } from '@diskgraph/driver-quorum'
import { raw } from '@diskgraph/driver-raw'
import { expect, it } from 'vitest'
import { filled, firstByte } from './stack.ts'

const size = 2 ** 20

function setUp(...names: string[]) {
  const storages = new Map(names.map((name) => [name, new MemoryStorage(size)]))
  return { storages, graph: new Graph({ drivers: [blkdebug, memoryDriver(storages), qcow2, quorum, raw] }) }
}

it('a quorum over different formats lives on when one of its legs is lost', async () => {
  const { graph } = setUp('plain', 'base', 'failing')
  await graph.create({ driver: 'qcow2', size, file: { driver: 'memory', name: 'overlay' } })
  const disk = await graph.add({
    driver: 'quorum',
    nodeName: 'q',
    voteThreshold: 2,
    children: [
      { driver: 'raw', file: { driver: 'memory', name: 'plain' } },
      { driver: 'qcow2', file: { driver: 'memory', name: 'overlay' }, backing: { driver: 'memory', name: 'base' } },
      {
        driver: 'blkdebug',
        image: { driver: 'memory', name: 'failing' },
        setState: [{ event: 'pwritev', newState: 2 }],
        injectError: [{ event: 'pwritev', state: 2 }],
      },
    ],
  })
  const bad: unknown[] = []
  graph.onEvent(({ event, data }) => bad.push([event, data.type]))
  await disk.write(1000, filled(1, 5000))
  expect(bad).toEqual([])
  await disk.write(3000, filled(2, 5000))
  expect(bad).toEqual([['QUORUM_REPORT_BAD', 'write']])
  expect(await firstByte(disk, 3000)).toBe(2)
  await graph.setChild('q', 'children.2', undefined)
  bad.length = 0
  expect(await firstByte(disk, 1000)).toBe(1)
  expect(await firstByte(disk, 500_000)).toBe(0)
  await disk.flush()
  expect(bad).toEqual([])
  const { value: extent } = await disk.extents({ offset: 600_000 }).next()
  expect(extent).toMatchObject({ length: size - 600_000, zero: true, data: false })
  await graph.close()
})

it('an image on a quorum grows on all children alike', async () => {
  const { graph, storages } = setUp('a', 'b', 'c')
  await graph.create({ driver: 'qcow2', size, file: { driver: 'memory', name: 'a' } })
  const image = storages.get('a') as MemoryStorage
  const bytes = new Uint8Array(image.size)
  image.read(0, bytes)
  for (const name of ['b', 'c']) {
    const copy = new MemoryStorage(image.size)
    copy.write(0, bytes)
    storages.set(name, copy)
  }
  const children = ['a', 'b', 'c'].map((name) => ({ driver: 'memory', name }) as const)
  const file = { driver: 'quorum', voteThreshold: 3, children } as const
  const disk = await graph.add({ driver: 'qcow2', file })
  await disk.write(100_000, filled(7, 300_000))
  await disk.close()
  expect(storages.get('c')?.size).toBeGreaterThan(bytes.length)
  expect(storages.get('c')?.size).toBe(storages.get('a')?.size)
  const again = await graph.add({ driver: 'qcow2', file })
  expect(await firstByte(again, 399_000)).toBe(7)
  await graph.close()
})
