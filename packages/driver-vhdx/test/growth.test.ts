import { growthTest } from '@diskgraph/driver-testkit'
import { vhdx } from '@diskgraph/driver-vhdx'
import { it } from 'vitest'

it('keeps what is written behind the end while a flush makes the file longer', () =>
  growthTest({ driver: vhdx, createOptions: { blockSize: 2 ** 20 }, cluster: 2 ** 20 }))
