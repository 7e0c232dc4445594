import { differentialTest, peer } from '@diskgraph/driver-testkit'
import { vhdx } from '@diskgraph/driver-vhdx'
import { describe, expect, it } from 'vitest'

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const qemu = peer('qemu-io', { describe, it })

qemu.describe(`vhdx beside qemu-io (seed ${seed})`, () => {
  it.each(['dynamic', 'fixed'] as const)('does the same, %s', async (subformat) => {
    const report = await differentialTest({
      driver: vhdx,
      format: 'vhdx',
      createOptions: { blockSize: 2 ** 20, subformat },
      qemuCreateOptions: `block_size=1048576,subformat=${subformat}`,
      size: 2 ** 23 + 1536,
      cluster: 2 ** 20,
      // QEMU's driver knows no discard.
      weights: { discard: 0 },
      // Zeroes where no block is leave none here.
      compareMap: false,
      seed,
      sequences: 5,
    })
    expect(report.differences).toEqual([])
    expect(report.otherErrors).toBe(0)
  })
})
