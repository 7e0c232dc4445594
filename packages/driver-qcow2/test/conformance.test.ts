import { qcow2 } from '@diskgraph/driver-qcow2'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

const variants: readonly (readonly [string, Record<string, unknown>, Record<string, unknown>?])[] = [
  ['defaults', {}],
  ['512-byte clusters, 4-bit refcounts', { clusterSize: 512, refcountBits: 4 }],
  ['512-byte clusters, 64-bit refcounts, lazy', { clusterSize: 512, refcountBits: 64, lazyRefcounts: true }],
  ['version 2', { compat: 'v2' }],
  ['2 MiB clusters, small cache entries', { clusterSize: 2 * 1024 * 1024 }, { l2CacheEntrySize: 4096 }],
  ['preallocated', { preallocation: 'metadata', clusterSize: 4096 }],
  ['subclusters', { extendedL2: true, clusterSize: 16384 }],
  ['smallest caches, strictest checks', { clusterSize: 1024 }, { cacheSize: 0, overlapCheck: 'all' }],
]

/** Every table and every copy of a cluster takes 2 MiB in one variant, so a test of all steps is slow there. */
const timeout = 240_000

for (const [name, createOptions, options] of variants) {
  describe(name, async () => {
    await conformance({
      test: { describe, it: (title, work) => it(title, work, timeout) },
      driver: qcow2,
      createOptions,
      options: { discard: 'unmap', ...options },
    })
  })
}

for (const dataFileRaw of [false, true]) {
  describe(`external data file, raw: ${dataFileRaw}`, async () => {
    await conformance({
      test: { describe, it: (title, work) => it(title, work, timeout) },
      driver: qcow2,
      refuses: ['snapshots'],
      async setUp({ files, graph, size, storage }) {
        files.put('image')
        files.put('data')
        const dataFile = { driver: 'testkit-file', name: 'data' }
        const file = { driver: 'testkit-file', name: 'image' }
        await graph.createUnchecked({ driver: 'qcow2', size, clusterSize: 4096, file, dataFile, dataFileRaw })
        const children = { file: storage('image'), dataFile: storage('data') }
        return { definition: { driver: 'qcow2', discard: 'unmap', ...children } }
      },
    })
  })
}
