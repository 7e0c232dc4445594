import { qed } from '@diskgraph/driver-qed'
import { differentialTest, peer } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const qemu = peer('qemu-io', { describe, it })

qemu.describe(`qed beside qemu-io (seed ${seed})`, () => {
  // Zeroes where no cluster is leave no entry here, which `map` shows.
  it.each([
    ['zeroes', 65536, 4, false],
    ['zeroes', 4096, 2, false],
    ['no zeroes', 4096, 2, true],
  ])(
    'does the same with %s, clusters of %d bytes, tables of %d',
    async (zeroes, clusterSize, tableSize, compareMap) => {
      const report = await differentialTest({
        driver: qed,
        format: 'qed',
        createOptions: { clusterSize, tableSize },
        qemuCreateOptions: `cluster_size=${clusterSize},table_size=${tableSize}`,
        size: 2 ** 22 + 1536,
        cluster: clusterSize,
        // QEMU's driver knows no discard.
        weights: { discard: 0, ...(zeroes === 'zeroes' ? {} : { zeroes: 0 }) },
        compareMap,
        seed,
        sequences: 6,
      })
      expect(report.differences).toEqual([])
      expect(report.otherErrors).toBe(0)
    },
  )
})
