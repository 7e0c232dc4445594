import { differentialTest, peer } from '@diskgraph/driver-testkit'
import { vpc } from '@diskgraph/driver-vpc'
import { describe, expect, it } from 'vitest'

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const qemu = peer('qemu-io', { describe, it })

qemu.describe(`vpc beside qemu-io (seed ${seed})`, () => {
  it.each([
    ['dynamic', { forceSize: true }, 'force_size=on'],
    ['fixed', { subformat: 'fixed', forceSize: true }, 'subformat=fixed,force_size=on'],
  ])('does the same with a %s image', async (subformat, createOptions, qemuCreateOptions) => {
    const report = await differentialTest({
      driver: vpc,
      format: 'vpc',
      createOptions,
      qemuCreateOptions,
      size: 5 * 2 ** 20 + 1536,
      // qemu-io prints what it reads: whole clusters would take minutes.
      cluster: 65536,
      // QEMU's driver knows no discard, and zeroes make it allocate.
      weights: { discard: 0, zeroes: 0 },
      compareMap: subformat === 'dynamic',
      check: false,
      seed,
      sequences: 2,
    })
    expect(report.differences).toEqual([])
    expect(report.otherErrors).toBe(0)
  })
})
