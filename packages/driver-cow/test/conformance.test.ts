import { cow } from '@diskgraph/driver-cow'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

await conformance({ test: { describe, it }, driver: cow })
