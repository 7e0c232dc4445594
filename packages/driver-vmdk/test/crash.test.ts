import { crashSuite, qemuImgJudge } from '@diskgraph/driver-testkit'
import { vmdk } from '@diskgraph/driver-vmdk'
import { describe, it } from 'vitest'

crashSuite({
  test: { describe, it },
  driver: vmdk,
  // Copied edges show what is missing: what was not there before reads as zeroes all the same.
  backing: 'backing',
  size: 2 ** 22,
  cluster: 65536,
  operations: 80,
  statesPerWorkload: 100,
  states: 200,
  judge: (folder) => qemuImgJudge({ format: 'vmdk', folder, checkOnly: true }),
})
