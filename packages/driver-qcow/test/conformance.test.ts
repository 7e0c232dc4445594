import { qcow } from '@diskgraph/driver-qcow'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

await conformance({ test: { describe, it }, driver: qcow })
