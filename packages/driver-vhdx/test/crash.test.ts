import { crashSuite } from '@diskgraph/driver-testkit'
import { vhdx } from '@diskgraph/driver-vhdx'
import { describe, it } from 'vitest'
import { replayingJudge } from './judge.ts'

crashSuite({
  test: { describe, it },
  driver: vhdx,
  createOptions: { blockSize: 2 ** 20 },
  size: 2 ** 23,
  cluster: 2 ** 20,
  operations: 60,
  statesPerWorkload: 40,
  states: 80,
  judge: replayingJudge,
})
