import { crashSuite } from '@diskgraph/driver-testkit'
import { vdi } from '@diskgraph/driver-vdi'
import { describe, it } from 'vitest'
import { repairedJudge } from './judge.ts'

crashSuite({
  test: { describe, it },
  driver: vdi,
  size: 2 ** 23,
  cluster: 2 ** 20,
  operations: 50,
  weights: { grow: 0.2 },
  statesPerWorkload: 50,
  states: 100,
  judge: repairedJudge,
  controls: ['ignoreGuestFlush', 'ignoreOwnFlushes'],
  sweep: { size: 8 * 2 ** 20, cluster: 2 ** 20 },
})
