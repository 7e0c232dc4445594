import { qcow } from '@diskgraph/driver-qcow'
import { crashTest, errorSweep, negativeControls } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const settings = {
  driver: qcow,
  // Copied edges show what is missing: what was not there before reads as zeroes all the same.
  backing: 'backing',
  size: 2 ** 22,
  cluster: 4096,
  operations: 80,
  statesPerWorkload: 100,
  states: 200,
}

// Nothing of QEMU's judges: its driver has no check.
describe(`qcow after a crash (seed ${seed})`, () => {
  it('has every sector that was flushed', async () => {
    const report = await crashTest({ ...settings, seed })
    expect(report.findings.map(({ text }) => text)).toEqual([])
  })

  it.each(['ignoreGuestFlush', 'ignoreOwnFlushes', 'dataAfterMetadata'] as const)(
    'would be found out with %s',
    async (control) => {
      let found = 0
      for (let i = 0; found === 0 && i < 6; i++) {
        const report = await crashTest({ ...settings, seed: seed + i, change: negativeControls[control]! })
        found = report.findings.length
      }
      expect(found).toBeGreaterThan(0)
    },
  )

  it('tells every error of its storage', async () => {
    const report = await errorSweep({ driver: qcow })
    expect(report.findings.map(({ kind, verb, nth, call, text }) => `${kind} ${verb} ${nth} ${call}: ${text}`)).toEqual(
      [],
    )
    expect(report.runs).toBeGreaterThan(10)
  })
})
