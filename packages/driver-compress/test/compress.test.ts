import { readFile } from 'node:fs/promises'
import { Graph } from '@diskgraph/core'
import { compress } from '@diskgraph/driver-compress'
import { file } from '@diskgraph/driver-file'
import { memory } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { peer, runTool, TempFolder } from '@diskgraph/driver-testkit'
import { throttle } from '@diskgraph/driver-throttle'
import { addThrottleGroup } from '@diskgraph/throttle'
import { describe, expect, it } from 'vitest'

const qemu = peer('qemu-img', { describe, it })
const size = 2 ** 20

describe('compress', () => {
  it('is refused over what cannot compress', async () => {
    await using graph = new Graph({ drivers: [memory, compress] })
    const adding = graph.add({ driver: 'compress', file: { driver: 'memory', size, nodeName: 'plain' } })
    await expect(adding).rejects.toMatchObject({ code: 'ENOTSUP', message: /Compression is not supported/ })
  })

  qemu.it('stores parts of clusters compressed, also through a filter', async () => {
    await using folder = await TempFolder.make()
    const image = folder.file('image.qcow2')
    await using graph = new Graph({ drivers: [file, qcow2, compress, throttle] })
    addThrottleGroup(graph, 'group')
    await graph.create({ driver: 'qcow2', size, file: { driver: 'file', filename: image } })
    const disk = await graph.add({
      driver: 'compress',
      file: {
        driver: 'throttle',
        throttleGroup: 'group',
        file: { driver: 'qcow2', file: { driver: 'file', filename: image } },
      },
    })
    await disk.write(1000, new Uint8Array(100_000).fill(7))
    await disk.writeZeroes(300_000, 100)
    await expect(disk.write(1000, new Uint8Array(100))).rejects.toMatchObject({ code: 'EIO' })
    await graph.close()
    const check = JSON.parse((await runTool('qemu-img', ['check', '--output=json', image])).stdout)
    expect(check).toMatchObject({ 'check-errors': 0, 'compressed-clusters': 3 })
    const raw = folder.file('raw')
    await runTool('qemu-img', ['convert', '-O', 'raw', image, raw])
    const expected = new Uint8Array(size)
    expected.fill(7, 1000, 101_000)
    expect(Buffer.compare(await readFile(raw), expected)).toBe(0)
  })
})
