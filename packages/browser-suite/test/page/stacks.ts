import { Graph } from '@diskgraph/core'
import { blob } from '@diskgraph/driver-blob'
import { http } from '@diskgraph/driver-http'
import { type MemoryStorage, memory, memoryDriver } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { raw } from '@diskgraph/driver-raw'
import { describe, expect, it } from 'vitest'
import { diskUrl, firstDifference, guestSize, patternOf, patternSize } from './disks.ts'

describe('stacks in a browser', () => {
  it('read a compressed qcow2 image over http', async () => {
    await using graph = new Graph({ drivers: [http, qcow2] })
    const disk = await graph.open(diskUrl('compressed.qcow2'), { format: 'qcow2' })
    const buf = new Uint8Array(guestSize)
    await disk.read(0, buf)
    expect(firstDifference(buf, patternOf(guestSize))).toBe(-1)
  })

  it('write into a qcow2 overlay in memory over a base on a server', async () => {
    await using graph = new Graph({ drivers: [http, memory, qcow2, raw] })
    await graph.create({ driver: 'qcow2', size: patternSize, file: { driver: 'memory', name: 'overlay' } })
    const disk = await graph.add({
      driver: 'qcow2',
      file: { driver: 'memory', name: 'overlay' },
      backing: { driver: 'raw', file: { driver: 'http', url: diskUrl('pattern') } },
    })
    const expected = patternOf(patternSize)
    expected.set(new TextEncoder().encode('written in a browser'), 123_456)
    await disk.write(123_456, new TextEncoder().encode('written in a browser'))
    const buf = new Uint8Array(patternSize)
    await disk.read(0, buf)
    expect(firstDifference(buf, expected)).toBe(-1)
    expect(await disk.check({ repair: 'none' })).toMatchObject({ corruptions: 0, leaks: 0 })
  })

  it('hand an image over as a Blob', async () => {
    const storages = new Map<string, MemoryStorage>()
    await using graph = new Graph({ drivers: [memoryDriver(storages), qcow2, blob] })
    await graph.create({ driver: 'qcow2', size: 2 ** 30, file: { driver: 'memory', name: 'new' } })
    const disk = await graph.add({ driver: 'qcow2', file: { driver: 'memory', name: 'new' } })
    await disk.write(2 ** 29, patternOf(70_000))
    await disk.close()
    const bytes = new Uint8Array(storages.get('new')?.size ?? 0)
    storages.get('new')?.read(0, bytes)
    const again = await graph.add({ driver: 'qcow2', file: { driver: 'blob', blob: new Blob([bytes]) } })
    const buf = new Uint8Array(70_000)
    await again.read(2 ** 29, buf)
    expect(firstDifference(buf, patternOf(70_000))).toBe(-1)
  })
})
