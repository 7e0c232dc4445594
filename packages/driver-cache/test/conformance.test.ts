import { cache } from '@diskgraph/driver-cache'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

await conformance({ test: { describe, it }, driver: cache, options: { pageSize: 4096, cacheSize: 65536 } })
