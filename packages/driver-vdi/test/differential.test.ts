import { differentialTest, peer } from '@diskgraph/driver-testkit'
import { vdi } from '@diskgraph/driver-vdi'
import { describe, expect, it } from 'vitest'

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const qemu = peer('qemu-io', { describe, it })

qemu.describe(`vdi beside qemu-io (seed ${seed})`, () => {
  it.each([
    ['dynamic', {}, 'static=off'],
    ['static', { static: true }, 'static=on'],
  ])('does the same with a %s image', async (_, createOptions, qemuCreateOptions) => {
    const report = await differentialTest({
      driver: vdi,
      format: 'vdi',
      createOptions,
      qemuCreateOptions,
      size: 3 * 2 ** 20 + 1536,
      // qemu-io prints what it reads: whole clusters would take minutes.
      cluster: 65536,
      // QEMU's driver knows no discard, and zeroes make it allocate.
      weights: { discard: 0, zeroes: 0 },
      seed,
      sequences: 2,
    })
    expect(report.differences).toEqual([])
    expect(report.otherErrors).toBe(0)
  })

  it('has the same content after zeroes', async () => {
    const report = await differentialTest({
      driver: vdi,
      format: 'vdi',
      size: 3 * 2 ** 20,
      // qemu-io prints what it reads: whole clusters would take minutes.
      cluster: 65536,
      weights: { discard: 0 },
      compareMap: false,
      seed,
      sequences: 2,
    })
    expect(report.differences).toEqual([])
  })
})
