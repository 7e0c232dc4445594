import { raw } from '@diskgraph/driver-raw'
import { crashTest, negativeControls } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const settings = { driver: raw, size: 2 ** 20, seed, states: 200 }

describe(`raw after a crash (seed ${seed})`, () => {
  it('has every sector that was flushed', async () => {
    const report = await crashTest(settings)
    expect(report.findings.map(({ text }) => text)).toEqual([])
  })

  it('would be found out if flushes did not reach the storage', async () => {
    expect((await crashTest({ ...settings, change: negativeControls.ignoreGuestFlush })).lost).toBeGreaterThan(0)
  })
})
