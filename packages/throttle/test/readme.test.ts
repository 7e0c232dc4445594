import { mustShowExample, VirtualClock } from '@diskgraph/driver-testkit'
import { ThrottleGroup } from '@diskgraph/throttle'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  const clock = new VirtualClock()
  const systemClock = clock
  mustShowExample(import.meta.url)
  const example = async (): Promise<void> => {
    const group = new ThrottleGroup({ clock: systemClock, limits: { iopsTotal: 100 } })
    const member = group.join()
    const begin = systemClock.now()
    for (let i = 0; i < 20; i++) await member.admit('read', 4096)
    member.leave()
    // Eleven go at once, nine more follow at a hundred a second.
    expect(systemClock.now() - begin).toBeCloseTo(90, 0)
  }
  await clock.run(example(), () => undefined)
})
