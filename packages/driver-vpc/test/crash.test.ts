import { crashTest, errorSweep, negativeControls, qemuImgJudge, TempFolder } from '@diskgraph/driver-testkit'
import { vpc } from '@diskgraph/driver-vpc'
import { describe, expect, it } from 'vitest'

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const settings = {
  driver: vpc,
  createOptions: { forceSize: true },
  size: 2 ** 23,
  cluster: 2 ** 20,
  operations: 50,
  statesPerWorkload: 50,
  states: 100,
}

describe(`vpc after a crash (seed ${seed})`, () => {
  it('has every sector that was flushed, also for qemu-img', async () => {
    await using folder = await TempFolder.make()
    const report = await crashTest({ ...settings, seed, judges: [qemuImgJudge({ format: 'vpc', folder })] })
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

  it('tells every error of its storage', async () => {
    const { createOptions } = settings
    const report = await errorSweep({ driver: vpc, createOptions, size: 16 * 2 ** 20, cluster: 2 ** 21 })
    expect(report.findings.map(({ kind, verb, nth, call, text }) => `${kind} ${verb} ${nth} ${call}: ${text}`)).toEqual(
      [],
    )
    expect(report.runs).toBeGreaterThan(10)
  })
})
