import { qed } from '@diskgraph/driver-qed'
import { growthTest } from '@diskgraph/driver-testkit'
import { it } from 'vitest'

it('keeps what is written behind the end while a flush makes the file longer', () =>
  growthTest({ driver: qed, createOptions: { clusterSize: 65536 }, cluster: 65536 }))
