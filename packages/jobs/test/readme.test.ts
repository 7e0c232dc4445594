import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { addBitmap, compare, copy, JobTable, startBackup, startMirror } from '@diskgraph/jobs'
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
  expect(log.mock.calls.splice(0)).toEqual([['0 of 65536 bytes'], ['65536 of 65536 bytes'], [undefined]])

  await using jobs = new JobTable(graph)
  const mirrored = await graph.addNode({ driver: 'memory', nodeName: 'mirrored', size: source.size })
  const job = await startMirror(jobs, { device: source.node, target: mirrored, sync: 'full', speed: 2 ** 30 })
  jobs.onChange(({ id, status, offset, length }) => {
    if (status === 'ready') job.complete()
    console.log(`${id} is ${status}: ${offset} of ${length} bytes`)
  })
  await job.finished
  console.log(source.nodeName) // mirrored: the users of the disk have gone over

  // What is written from now on is all that the next backup copies.
  await addBitmap(graph, mirrored, { name: 'since-monday' })
  await source.write(0, new Uint8Array(65536).fill(1))
  const weekly = await graph.addNode({ driver: 'memory', nodeName: 'weekly', size: source.size })
  const changed = { sync: 'incremental', bitmap: 'since-monday' } as const
  const backup = await startBackup(jobs, { device: mirrored, target: weekly, ...changed })
  await backup.finished
  console.log(backup.length) // 65536
  const lines = log.mock.calls.map(([line]) => String(line).replace(/:.*/, ''))
  expect(lines).toEqual([
    'mirror0 is ready',
    'mirror0 is waiting',
    'mirror0 is pending',
    'mirror0 is concluded',
    'mirror0 is null',
    'mirrored',
    ...['created', 'running', 'paused', 'running'].map((status) => `backup1 is ${status}`),
    'backup1 is waiting',
    'backup1 is pending',
    'backup1 is concluded',
    'backup1 is null',
    '65536',
  ])
  log.mockRestore()
})
