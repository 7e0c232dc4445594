import { randomSeed } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'
import { simulateJob } from './simulation.ts'

const first = Number(process.env.SEED ?? randomSeed())
const count = Number(process.env.COUNT ?? 60)

it(`jobs of every kind lose nothing and leave nothing behind (seeds from ${first})`, async () => {
  const outcomes = new Set<string>()
  for (let seed = first; seed < first + count; seed++) {
    const { kind, outcome } = await simulateJob(seed)
    outcomes.add(`${kind} ${outcome}`)
  }
  expect(outcomes.size).toBeGreaterThan(5)
})
