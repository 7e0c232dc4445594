import { crashTest, errorSweep, negativeControls } from '@diskgraph/driver-testkit'
import { vdi } from '@diskgraph/driver-vdi'
import { describe, expect, it } from 'vitest'

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const settings = {
  driver: vdi,
  size: 2 ** 23,
  cluster: 2 ** 20,
  operations: 50,
  weights: { grow: 0.2 },
  statesPerWorkload: 50,
  states: 100,
}

describe(`vdi after a crash (seed ${seed})`, () => {
  it('has every sector that was flushed, and leaks at worst', async () => {
    const report = await crashTest({ ...settings, seed })
    expect(report.findings.map(({ text }) => text)).toEqual([])
  })

  it('would be found out if flushes did not reach the storage', async () => {
    let found = 0
    for (let i = 0; found === 0 && i < 6; i++) {
      const report = await crashTest({ ...settings, seed: seed + i, change: negativeControls.ignoreGuestFlush! })
      found = report.findings.length
    }
    expect(found).toBeGreaterThan(0)
  })

  it('would be found out if the map reached the storage before the data', async () => {
    let found = 0
    for (let i = 0; found === 0 && i < 6; i++) {
      const report = await crashTest({ ...settings, seed: seed + i, change: negativeControls.ignoreOwnFlushes! })
      found = report.findings.length
    }
    expect(found).toBeGreaterThan(0)
  })

  it('tells every error of its storage', async () => {
    const report = await errorSweep({ driver: vdi, size: 8 * 2 ** 20, cluster: 2 ** 20 })
    expect(report.findings.map(({ kind, verb, nth, call, text }) => `${kind} ${verb} ${nth} ${call}: ${text}`)).toEqual(
      [],
    )
    expect(report.runs).toBeGreaterThan(10)
  })
})
