import { differentialTest, peer } from '@diskgraph/driver-testkit'
import { vmdk } from '@diskgraph/driver-vmdk'
import { describe, expect, it } from 'vitest'

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const qemu = peer('qemu-io', { describe, it })

qemu.describe(`vmdk beside qemu-io (seed ${seed})`, () => {
  // Zeroes over grains with data make holes here, and none where no grain is, which `map` shows.
  it.each([
    ['plainly', false, false],
    ['without zeroes', false, true],
    ['with entries for zeroes', true, false],
  ] as const)('does the same %s', async (how, zeroedGrain, compareMap) => {
    const report = await differentialTest({
      driver: vmdk,
      format: 'vmdk',
      createOptions: { zeroedGrain },
      qemuCreateOptions: `zeroed_grain=${zeroedGrain ? 'on' : 'off'}`,
      size: 2 ** 22 + 1536,
      cluster: 65536,
      // QEMU's driver knows no discard.
      weights: { discard: 0, ...(how === 'without zeroes' ? { zeroes: 0 } : {}) },
      compareMap,
      seed,
      sequences: 5,
    })
    expect(report.differences).toEqual([])
    expect(report.otherErrors).toBe(0)
  })
})
