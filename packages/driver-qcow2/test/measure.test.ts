import { qcow2 } from '@diskgraph/driver-qcow2'
import { peer } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { Folder, newGraph, open, run } from './images.ts'

const KiB = 1024
const MiB = 1024 * KiB
const defaults = {
  compat: 'v3',
  lazyRefcounts: false,
  preallocation: 'off',
  compressionType: 'zlib',
  extendedL2: false,
}

/** What this driver measures. */
async function measure(size: number, options: Record<string, unknown>, extents?: AsyncIterable<never>) {
  const request = { options: { clusterSize: 65536, refcountBits: 16, ...defaults, ...options }, size }
  return qcow2.measure!(extents === undefined ? request : { ...request, extents })
}

/** What the real qemu-img measures. */
function peerMeasure(options: Record<string, unknown>, ...source: string[]) {
  const list = Object.entries(options).map(
    ([key, value]) => `${key.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)}=${value}`,
  )
  const flags = list.length === 0 ? [] : ['-o', list.join(',')]
  const json = JSON.parse(run('qemu-img', 'measure', '-O', 'qcow2', '--output=json', ...flags, ...source))
  return { required: json.required, fullyAllocated: json['fully-allocated'] }
}

peer('qemu-img', { describe, it }).describe('measure', () => {
  const sizes = [0, 1, 512, 65536, 3 * MiB + 512, 1024 * MiB, 7 * 1024 * MiB + 4096]
  for (const clusterSize of [512, 4096, 65536, 2 * MiB]) {
    it(`gives the figures of qemu-img for clusters of ${clusterSize} bytes`, async () => {
      for (const refcountBits of [1, 8, 16, 64]) {
        for (const size of sizes) {
          const options = { clusterSize, refcountBits }
          const theirs = peerMeasure(options, '--size', String(size))
          expect(await measure(size, options), `${size} bytes, ${refcountBits} bits`).toEqual(theirs)
        }
      }
    })
  }

  it('counts everything that is preallocated', async () => {
    for (const preallocation of ['off', 'metadata', 'falloc', 'full']) {
      const theirs = peerMeasure({ preallocation }, '--size', String(100 * MiB))
      expect(await measure(100 * MiB, { preallocation })).toEqual(theirs)
    }
  })

  it('counts the clusters that hold data in a source', async () => {
    using folder = new Folder()
    const name = folder.file('a.qcow2')
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'cluster_size=4k', name, '20M')
    const writes = [
      'write 5000 100',
      'write 1M 64k',
      'write -z 1060k 8k',
      'write 3M 12345',
      'write -z 5M 1M',
      'write 20971000 10',
    ]
    run('qemu-io', ...writes.flatMap((write) => ['-c', write]), name)
    await using graph = newGraph()
    const disk = await open(graph, name)
    for (const clusterSize of [512, 4 * KiB, 64 * KiB, MiB]) {
      const theirs = peerMeasure({ clusterSize }, '-f', 'qcow2', name)
      expect(await measure(disk.size, { clusterSize }, disk.extents() as never)).toEqual(theirs)
    }
  })

  it('counts every cluster of a source over a backing file', async () => {
    using folder = new Folder()
    const name = folder.file('a.qcow2')
    run('qemu-img', 'create', '-q', '-f', 'qcow2', name, '20M')
    run('qemu-img', 'create', '-q', '-f', 'raw', folder.file('base'), '20M')
    await using graph = newGraph()
    const disk = await open(graph, name)
    const theirs = peerMeasure({ backingFile: folder.file('base'), backingFmt: 'raw' }, '-f', 'qcow2', name)
    const options = { backingFile: folder.file('base'), backingFmt: 'raw' }
    expect(await measure(disk.size, options, disk.extents() as never)).toEqual(theirs)
  })

  it('refuses a disk that is too large for its clusters', async () => {
    await expect(measure(2 ** 40, { clusterSize: 512 })).rejects.toMatchObject({ code: 'EFBIG' })
  })
})
