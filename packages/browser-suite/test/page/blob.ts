import { Graph } from '@diskgraph/core'
import { blob } from '@diskgraph/driver-blob'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { describe, expect, it } from 'vitest'
import { diskUrl, firstDifference, guestSize, patternOf } from './disks.ts'

describe('blob in a browser', () => {
  it('reads a File', async () => {
    await using graph = new Graph({ drivers: [blob] })
    const disk = await graph.add({ driver: 'blob', blob: new File([patternOf(5000)], 'disk.img') })
    const buf = new Uint8Array(1000)
    await disk.read(3000, buf)
    expect(buf).toEqual(patternOf(5000).subarray(3000, 4000))
    expect(disk.filename).toBe('blob:disk.img')
  })

  it('holds a compressed qcow2 image that Node has written', async () => {
    await using graph = new Graph({ drivers: [blob, qcow2] })
    const image = await (await fetch(diskUrl('compressed.qcow2'))).blob()
    const disk = await graph.add({ driver: 'qcow2', file: { driver: 'blob', blob: image } })
    const buf = new Uint8Array(guestSize)
    await disk.read(0, buf)
    expect(disk.readOnly).toBe(true)
    expect(firstDifference(buf, patternOf(guestSize))).toBe(-1)
    expect((await disk.check({ repair: 'none' })).compressedClusters).toBeGreaterThan(0)
  })
})
