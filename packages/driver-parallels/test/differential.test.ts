import { parallels } from '@diskgraph/driver-parallels'
import { differentialTest, peer } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const qemu = peer('qemu-io', { describe, it })

qemu.describe(`parallels beside qemu-io (seed ${seed})`, () => {
  it.each([65536, 63 * 512])('does the same with clusters of %d bytes', async (clusterSize) => {
    const report = await differentialTest({
      driver: parallels,
      format: 'parallels',
      createOptions: { clusterSize },
      qemuCreateOptions: `cluster_size=${clusterSize}`,
      size: 2 ** 20 + 1536,
      cluster: clusterSize,
      // QEMU's driver knows no discard, and zeroes make it allocate.
      weights: { discard: 0, zeroes: 0 },
      seed,
      sequences: 4,
    })
    expect(report.differences).toEqual([])
    expect(report.otherErrors).toBe(0)
  })
})
