import { parallels } from '@diskgraph/driver-parallels'
import { growthTest } from '@diskgraph/driver-testkit'
import { it } from 'vitest'

it('keeps what is written behind the end while a flush makes the file longer', () =>
  growthTest({ driver: parallels, createOptions: { clusterSize: 65536 }, cluster: 65536 }))
