import { cow } from '@diskgraph/driver-cow'
import { crashSuite } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

// No program of today judges the format.
crashSuite({
  test: { describe, it },
  driver: cow,
  // Copied edges show what is missing: what was not there before reads as zeroes all the same.
  backing: 'backing',
  size: 2 ** 22,
  cluster: 4096,
  operations: 80,
  statesPerWorkload: 100,
  states: 200,
  // Data has its place before it is written: only a flush orders it and the bits.
  controls: ['ignoreGuestFlush', 'ignoreOwnFlushes'],
})
