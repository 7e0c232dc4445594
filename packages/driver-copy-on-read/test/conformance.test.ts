import { copyOnRead } from '@diskgraph/driver-copy-on-read'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

await conformance({ test: { describe, it }, driver: copyOnRead, refuses: ['readOnly'] })
