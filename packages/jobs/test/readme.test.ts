import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { compare, copy } from '@diskgraph/jobs'
import { expect, it, vi } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined)
  await using graph = new Graph({ drivers: [memory, qcow2] })
  const source = await graph.add({ driver: 'memory', size: 2 ** 30 })
  await source.write(12345, new TextEncoder().encode('hello'))

  await graph.create({ driver: 'qcow2', size: source.size, file: { driver: 'memory', name: 'copy' } })
  const target = await graph.add({ driver: 'qcow2', file: { driver: 'memory', name: 'copy' } })
  await copy(source, target, {
    signal: AbortSignal.timeout(60_000),
    onProgress: ({ done, total }) => console.log(`${done} of ${total} bytes`),
  })
  console.log(await compare(source, target)) // undefined: they hold the same
  expect(log.mock.calls).toEqual([['0 of 65536 bytes'], ['65536 of 65536 bytes'], [undefined]])
  log.mockRestore()
})
