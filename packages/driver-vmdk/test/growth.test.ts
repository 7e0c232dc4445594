import { growthTest } from '@diskgraph/driver-testkit'
import { vmdk } from '@diskgraph/driver-vmdk'
import { it } from 'vitest'

it('keeps what is written behind the end while a flush makes the file longer', () =>
  growthTest({ driver: vmdk, cluster: 65536 }))
