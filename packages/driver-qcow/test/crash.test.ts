import { qcow } from '@diskgraph/driver-qcow'
import { crashSuite } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

// Nothing of QEMU's judges: its driver has no check.
crashSuite({
  test: { describe, it },
  driver: qcow,
  // Copied edges show what is missing: what was not there before reads as zeroes all the same.
  backing: 'backing',
  size: 2 ** 22,
  cluster: 4096,
  operations: 80,
  statesPerWorkload: 100,
  states: 200,
})
