import { errorSweep } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { toyFormat } from './toy-format.ts'

describe('the error sweep', () => {
  it('passes a driver that reports every failure', async () => {
    const report = await errorSweep({ driver: toyFormat(), cluster: 4096 })
    expect(report.findings).toEqual([])
    expect(report.otherCodes).toBe(0)
    expect(Object.keys(report.verbs)).toEqual(
      expect.arrayContaining(['create', 'open', 'read', 'write', 'write in place', 'several writes at once']),
    )
  })

  it('finds a failure that is swallowed', async () => {
    const report = await errorSweep({ driver: toyFormat('swallows-errors'), cluster: 4096, codes: ['EIO'] })
    expect(report.swallowed).toBeGreaterThan(0)
  })
})
