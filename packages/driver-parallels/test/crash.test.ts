import { parallels } from '@diskgraph/driver-parallels'
import { crashSuite, qemuImgJudge } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'
import { isDirty } from './dirty.ts'

crashSuite({
  test: { describe, it },
  driver: parallels,
  createOptions: { clusterSize: 65536 },
  // Copied edges show what is missing: what was not there before reads as zeroes all the same.
  backing: 'backing',
  size: 2 ** 21,
  cluster: 65536,
  operations: 80,
  statesPerWorkload: 100,
  states: 200,
  judge: (folder) => qemuImgJudge({ format: 'parallels', folder, dirty: isDirty, checkOnly: true }),
  controls: ['ignoreGuestFlush', 'ignoreOwnFlushes'],
})
