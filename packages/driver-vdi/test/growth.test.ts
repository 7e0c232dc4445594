import { growthTest } from '@diskgraph/driver-testkit'
import { vdi } from '@diskgraph/driver-vdi'
import { it } from 'vitest'

it('keeps what is written behind the end while a flush makes the file longer', () =>
  growthTest({ driver: vdi, cluster: 2 ** 20 }))
