import { qcow } from '@diskgraph/driver-qcow'
import { differentialTest, peer } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const qemu = peer('qemu-io', { describe, it })

qemu.describe(`qcow beside qemu-io (seed ${seed})`, () => {
  // Zeroes where no cluster is leave none here, which `map` shows.
  it.each([
    ['zeroes', false],
    ['no zeroes', true],
  ])('does the same with %s', async (zeroes, compareMap) => {
    const report = await differentialTest({
      driver: qcow,
      format: 'qcow',
      size: 2 ** 22 + 1536,
      cluster: 4096,
      // QEMU's driver knows no discard, and no new sizes.
      weights: { discard: 0, truncate: 0, ...(zeroes === 'zeroes' ? {} : { zeroes: 0 }) },
      compareMap,
      seed,
      sequences: 6,
    })
    expect(report.differences).toEqual([])
    expect(report.otherErrors).toBe(0)
  })
})
