import { qcow } from '@diskgraph/driver-qcow'
import { growthTest } from '@diskgraph/driver-testkit'
import { it } from 'vitest'

it('keeps what is written behind the end while a flush makes the file longer', () =>
  growthTest({ driver: qcow, cluster: 4096 }))
