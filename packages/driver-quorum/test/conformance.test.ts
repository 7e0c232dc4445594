import { quorum } from '@diskgraph/driver-quorum'
import { conformance, type SetUpContext } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

function over(count: number, options: object) {
  return ({ files, storage, size }: SetUpContext) => {
    const names = Array.from({ length: count }, (_, i) => `leg${i}`)
    for (const name of names) files.put(name).truncate(size)
    return { definition: { driver: 'quorum', ...options, children: names.map(storage) } }
  }
}

await conformance({
  test: { describe, it },
  driver: quorum,
  setUp: over(3, { voteThreshold: 3 }),
})

await conformance({ test: { describe, it }, driver: quorum, setUp: over(1, { voteThreshold: 1, readPattern: 'fifo' }) })
