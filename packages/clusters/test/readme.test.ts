import { InFlight } from '@diskgraph/clusters'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  const inFlight = new InFlight()
  const allocation = inFlight.begin(65536, 131072)
  const free = inFlight.isClear(0, 65536)
  const waiting = inFlight.wait(65536)
  inFlight.end(allocation)
  await waiting
  expect(free).toBe(true)
})
