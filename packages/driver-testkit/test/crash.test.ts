import { crashTest, negativeControls } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { toyFormat } from './toy-format.ts'

const seed = Number(process.env.SEED ?? 4711)
const settings = { driver: toyFormat(), size: 2 ** 20, cluster: 4096, seed, states: 120 }

describe(`the crash test (seed ${seed})`, () => {
  it('passes a format with a right order of writes', async () => {
    const report = await crashTest(settings)
    expect(report.findings.map(({ text }) => text)).toEqual([])
    expect(report).toMatchObject({ states: 120, corrupt: 0, lost: 0, unopenable: 0 })
    expect(report.leaking).toBeGreaterThan(0)
  })

  it.each(['map-before-count', 'no-flush'] as const)('fails a format with %s', async (mistake) => {
    const report = await crashTest({ ...settings, driver: toyFormat(mistake) })
    expect(report.corrupt).toBeGreaterThan(0)
  })

  it.each(Object.entries(negativeControls))('fails a recording changed by %s', async (_, change) => {
    const report = await crashTest({ ...settings, change })
    expect(report.corrupt + report.lost).toBeGreaterThan(0)
  })

  it('gives the same findings for the same seed', async () => {
    const change = negativeControls.ignoreGuestFlush
    const [first, second] = [await crashTest({ ...settings, change }), await crashTest({ ...settings, change })]
    expect(first.findings.map(({ text }) => text)).toEqual(second.findings.map(({ text }) => text))
    expect(first.calls).toBe(second.calls)
  })
})
