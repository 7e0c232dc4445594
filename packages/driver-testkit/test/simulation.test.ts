import type { DriverDescriptor } from '@diskgraph/core'
import { Passthrough } from '@diskgraph/core/driver'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { quorum } from '@diskgraph/driver-quorum'
import { raw } from '@diskgraph/driver-raw'
import { expect, it } from 'vitest'
import { randomSeed, simulate } from '../src/index.ts'

// Loaded now, so that even the first seed runs as it will run again.
await qcow2.measure?.({
  size: 0,
  options: { clusterSize: 65536, refcountBits: 16, compat: 'v3', preallocation: 'off' },
})
const drivers = [raw, qcow2, quorum]
const first = Number(process.env.SEED ?? randomSeed() % 1_000_000_000)

for (let begin = first; begin < first + 500; begin += 100) {
  it(`a graph in virtual time keeps its promises for the seeds ${begin} to ${begin + 99}`, async () => {
    for (let seed = begin; seed < begin + 100; seed++) await simulate({ seed, drivers, keep: 20 })
  })
}

it(`the same seed gives the same trace (seed ${first})`, async () => {
  const [one, other, third] = [
    await simulate({ seed: first, drivers }),
    await simulate({ seed: first, drivers }),
    await simulate({ seed: first + 1, drivers }),
  ]
  expect(one).toEqual(other)
  expect(third.hash).not.toBe(one.hash)
  expect(one.requests).toBeGreaterThan(0)
})

/** Simulates seeds with `driver` in place of raw until one fails; its message. */
async function firstFailure(driver: DriverDescriptor): Promise<string> {
  for (let seed = 1; seed <= 60; seed++) {
    try {
      await simulate({ seed, drivers: [driver] })
    } catch (error) {
      return (error as Error).message
    }
  }
  return 'none'
}

function broken(change: (image: Passthrough) => void): DriverDescriptor {
  return {
    ...raw,
    open: async ({ children }) => {
      const image = new Passthrough(children.require('file'))
      change(image)
      return image
    },
  }
}

it('a write that is lost is found', async () => {
  let writes = 0
  const losing = broken((image) => {
    const write = image.write.bind(image)
    image.write = (...args) => (++writes % 20 === 0 ? Promise.resolve() : write(...args))
  })
  expect(await firstFailure(losing)).toMatch(/the history of sector \d+ cannot be/)
})

it('a request that is never answered is found', async () => {
  let reads = 0
  const hanging = broken((image) => {
    const read = image.read.bind(image)
    image.read = (...args) => (++reads === 30 ? new Promise<void>(() => undefined) : read(...args))
  })
  expect(await firstFailure(hanging)).toMatch(/has been under way for 60000 virtual ms|stuck at/)
})

it('a stale read is found', async () => {
  const stale = broken((image) => {
    const read = image.read.bind(image)
    let old: Uint8Array | undefined
    image.read = async (offset, buf, flags, signal) => {
      await read(offset, buf, flags, signal)
      if (offset === 0 && buf.length >= 512) {
        old ??= buf.slice(0, 512)
        buf.set(old)
      }
    }
  })
  expect(await firstFailure(stale)).toMatch(/the history of sector 0 cannot be/)
})
