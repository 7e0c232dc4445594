import { delay } from '@diskgraph/driver-delay'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

const options = { readDelay: 0.1, writeDelay: 0.2, zeroesDelay: 0.1, discardDelay: 0.1, flushDelay: 0.1 }

await conformance({ test: { describe, it }, driver: delay, options })
