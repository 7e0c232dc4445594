import { crashSuite, qemuImgJudge } from '@diskgraph/driver-testkit'
import { vpc } from '@diskgraph/driver-vpc'
import { describe, it } from 'vitest'

crashSuite({
  test: { describe, it },
  driver: vpc,
  createOptions: { forceSize: true },
  size: 2 ** 23,
  cluster: 2 ** 20,
  operations: 50,
  statesPerWorkload: 50,
  states: 100,
  judge: (folder) => qemuImgJudge({ format: 'vpc', folder }),
  controls: ['ignoreGuestFlush'],
  sweep: { size: 16 * 2 ** 20, cluster: 2 ** 21 },
})
