import { qed } from '@diskgraph/driver-qed'
import { crashSuite, qemuImgJudge } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

crashSuite({
  test: { describe, it },
  driver: qed,
  createOptions: { clusterSize: 4096, tableSize: 2 },
  // Copied edges show what is missing: what was not there before reads as zeroes all the same.
  backing: 'backing',
  size: 2 ** 22,
  cluster: 4096,
  operations: 80,
  statesPerWorkload: 100,
  states: 200,
  judge: (folder) => qemuImgJudge({ format: 'qed', folder, checkOnly: true }),
})
