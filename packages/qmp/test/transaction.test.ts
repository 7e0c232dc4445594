/** Transactions with jobs: all of it happens, or nothing has. */
import { Graph, type Node } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { createMonitor, System } from '@diskgraph/qmp'
import { expect, it } from 'vitest'
import { LocalClient } from './local-client.ts'

const size = 2 ** 20

it('a transaction whose last action fails leaves graph, bitmaps and jobs as they were', async () => {
  await using graph = new Graph({ drivers: [memory, qcow2] })
  const system = new System({ graph })
  const monitor = createMonitor(system)
  const client = new LocalClient(monitor)
  await client.execute('qmp_capabilities')
  await graph.addNode({ driver: 'memory', nodeName: 'disk', size })
  await graph.addNode({ driver: 'memory', nodeName: 'target', size })
  await graph.create({ driver: 'qcow2', size, file: { driver: 'memory', name: 'o' } })
  await graph.addNode({ driver: 'qcow2', nodeName: 'overlay', file: { driver: 'memory', name: 'o' } })
  await client.execute('block-dirty-bitmap-add', { node: 'disk', name: 'bits' })
  const disk = await graph.attach('disk')
  await disk.write(0, new Uint8Array(512))
  const bits = ({ dirtyBitmaps, blockers }: Node) => [
    blockers.size,
    dirtyBitmaps.map((bitmap) => [bitmap.busy, bitmap.dirtyBytes]),
  ]
  const state = () => JSON.stringify([graph, [...graph.nodes].map(bits)])
  const before = state()
  client.received.length = 0
  const backup = { device: 'overlay', target: 'target', sync: 'full', 'job-id': 'j' }
  const incremental = { ...backup, device: 'disk', sync: 'incremental', bitmap: 'bits' }
  const snapshot = { type: 'blockdev-snapshot', data: { node: 'disk', overlay: 'overlay' } }
  const failing = [
    [snapshot, { type: 'blockdev-backup', data: backup }, { type: 'abort', data: {} }],
    [snapshot, { type: 'blockdev-backup', data: { ...backup, target: 'none' } }],
    [{ type: 'blockdev-backup', data: incremental }, snapshot, { type: 'abort', data: {} }],
    [
      { type: 'block-dirty-bitmap-clear', data: { node: 'disk', name: 'bits' } },
      { type: 'blockdev-backup', data: incremental },
      { type: 'blockdev-backup', data: { ...incremental, 'job-id': 'k' } },
    ],
  ]
  for (const actions of failing) {
    const properties = { 'completion-mode': 'grouped' }
    expect(await client.execute('transaction', { actions, properties })).toMatchObject({ class: 'GenericError' })
    expect(state()).toBe(before)
    expect(system.jobs.list()).toEqual([])
  }
  await disk.write(0, new Uint8Array(512))
  const actions = [snapshot, { type: 'blockdev-backup', data: backup }]
  expect(await client.execute('transaction', { actions })).toEqual({})
  await system.jobs.get('j')?.finished
  expect(disk.nodeName).toBe('overlay')
  monitor.close()
})

it.each(['remove', 'clear', 'disable'] as const)(
  'a bitmap that is taken back by an undone %s has every write that came meanwhile',
  async (kind) => {
    await using graph = new Graph({ drivers: [memory, qcow2] })
    const system = new System({ graph })
    const client = new LocalClient(createMonitor(system))
    await client.execute('qmp_capabilities')
    await graph.addNode({ driver: 'memory', nodeName: 'disk', size })
    await graph.create({ driver: 'qcow2', size, file: { driver: 'memory', name: 'i' } })
    await graph.addNode({ driver: 'qcow2', nodeName: 'image', file: { driver: 'memory', name: 'i' } })
    const granularity = 4096
    await client.execute('block-dirty-bitmap-add', { node: 'disk', name: 'bits', granularity })
    const disk = await graph.attach('disk')
    const written = new Set<number>()
    const guest = async (): Promise<void> => {
      for (let block = 0; block < 256; block++) {
        await disk.write(block * granularity, new Uint8Array(512))
        written.add(block)
      }
    }
    // Undoing the snapshot takes its time.
    const actions = [
      { type: `block-dirty-bitmap-${kind}`, data: { node: 'disk', name: 'bits' } },
      { type: 'blockdev-snapshot-internal-sync', data: { device: 'image', name: 'snap' } },
      { type: 'abort', data: {} },
    ]
    for (let i = 0; i < 10; i++) {
      for (const action of graph.find('disk')?.dirtyBitmaps ?? []) action.clear(0, size)
      written.clear()
      const answer = client.execute('transaction', { actions })
      for (let turn = 0; turn < i; turn++) await Promise.resolve()
      await Promise.all([guest(), guest()])
      expect(await answer).toMatchObject({ class: 'GenericError' })
      const bitmap = graph.find('disk')?.dirtyBitmaps.find(({ name }) => name === 'bits')
      const missing = [...written].filter((block) => bitmap?.get(block * granularity) !== true)
      expect(missing).toEqual([])
    }
  },
)
