import { quorum } from '@diskgraph/driver-quorum'
import { conformance, type Ground } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

function over(count: number, options: object) {
  return ({ shelf, storage, size }: Ground) => {
    const names = Array.from({ length: count }, (_, i) => `leg${i}`)
    for (const name of names) shelf.put(name).truncate(size)
    return { definition: { driver: 'quorum', ...options, children: names.map(storage) } }
  }
}

await conformance({
  test: { describe, it },
  driver: quorum,
  setUp: over(3, { voteThreshold: 3 }),
})

await conformance({ test: { describe, it }, driver: quorum, setUp: over(1, { voteThreshold: 1, readPattern: 'fifo' }) })
