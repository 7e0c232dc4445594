import { raw } from '@diskgraph/driver-raw'
import { differentialTest, peer } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const qemu = peer('qemu-io', { describe, it })

qemu.describe(`raw beside qemu-io (seed ${seed})`, () => {
  it('does the same', async () => {
    const report = await differentialTest({
      driver: raw,
      format: 'raw',
      size: 2 ** 21,
      weights: { truncate: 1 },
      seed,
      sequences: 10,
      compareMap: false,
    })
    expect(report.differences).toEqual([])
    expect(report.otherErrors).toBe(0)
  })
})
