/**
 * Several steps that belong together, in one change, on a disk that is in use all the time: each is tried once for every
 * step of an image that can fail, and then without a failure. After a failure everything is as before, and the load
 * goes on.
 */
import { type Change, type Disk, type DriverDescriptor, type Graph, type Node, Permission } from '@diskgraph/core'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { type Faults, Random } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { FakeDrivers, stateOf } from '../fake-drivers.ts'
import { inTime, jitter, Load, randomContent, seed } from './load.ts'

const size = 2 ** 18

interface Fixture {
  readonly fakes: FakeDrivers
  readonly graph: Graph
  readonly disk: Disk
  /** The users that a job has at both of its ends, once it has begun. */
  readonly ends: Disk[]
}

/** One change: `prepare` opens what it needs, `run` does it, `check` looks at the result. */
interface Scenario {
  prepare?(at: Fixture): Promise<unknown>
  run(change: Change, at: Fixture): Promise<unknown>
  check(at: Fixture): Promise<unknown> | unknown
}

const scenarios: Readonly<Record<string, Scenario>> = {
  'a live snapshot': {
    prepare: ({ graph }) => addOverlay(graph, 'snap'),
    run: async (change, { graph }) => {
      const base = graph.find('base') as Node
      await change.replace(base, 'snap')
      await change.setBacking('snap', base)
    },
    check: ({ graph }) => {
      expect([below(graph, 'top'), graph.find('snap')?.backing?.node.name]).toEqual(['snap', 'base'])
    },
  },
  'the end of a mirror': {
    prepare: addCopy,
    run: async (change, at) => {
      await copied(change, at)
      await change.replace('base', 'copy')
    },
    check: ({ graph }) => expect([below(graph, 'top'), graph.find('base')]).toEqual(['copy', undefined]),
  },
  'a reopening of several nodes': {
    run: async (change) => {
      await change.reopen('top', { mode: 'new', detectZeroes: 'on' })
      await change.reopen('store', { mode: 'new', cache: { noFlush: true } })
      await change.reopen('base', { detectZeroes: 'unmap', discard: 'unmap' })
    },
    check: ({ graph }) => {
      expect([graph.find('top')?.options.mode, graph.find('store')?.options.mode]).toEqual(['new', 'new'])
      expect([graph.find('base')?.detectZeroes, graph.find('base')?.discardMode]).toEqual(['unmap', 'unmap'])
    },
  },
  'a change of equal children': {
    prepare: addCopy,
    run: async (change, at) => {
      await copied(change, at)
      const list = await change.openUnchecked({ driver: 'many', nodeName: 'list', children: ['copy'] })
      await change.replace('base', list)
      await change.addChild(list, 'children', await change.openUnchecked({ driver: 'disk', nodeName: 'second', size }))
      await change.setChild(list, 'children.1', undefined)
      await change.addChild(list, 'children', await change.openUnchecked({ driver: 'disk', nodeName: 'third', size }))
    },
    check: ({ graph }) => {
      expect([...(graph.find('list')?.children ?? [])].map(([name, { node }]) => [name, node.name])).toEqual([
        ['children.0', 'copy'],
        ['children.1', 'third'],
      ])
      expect(graph.find('second')).toBeUndefined()
    },
  },
  'a transaction of a snapshot, a filter, reopened nodes and a child of a list': {
    prepare: ({ graph }) => addOverlay(graph, 'snap'),
    run: async (change, { graph }) => {
      const base = graph.find('base') as Node
      await change.reopen('top', { mode: 'new' })
      await change.replace(base, 'snap')
      await change.setBacking('snap', base)
      await change.insertUnchecked('snap', { driver: 'filter', nodeName: 'filter' })
      await change.reopen('store', { mode: 'new' })
      await change.addChild(
        'others',
        'children',
        await change.openUnchecked({ driver: 'disk', nodeName: 'more', size: 512 }),
      )
    },
    check: ({ graph }) => {
      expect([below(graph, 'top'), below(graph, 'filter')]).toEqual(['filter', 'snap'])
      expect(graph.find('snap')?.backing?.node.name).toBe('base')
      expect([graph.find('top')?.options.mode, graph.find('store')?.options.mode]).toEqual(['new', 'new'])
      expect(graph.find('others')?.children.size).toBe(2)
    },
  },
}

describe.each(Object.entries(scenarios))('%s', (_, scenario) => {
  it(`fails as a whole at every step, and goes well in the end, under load (seed ${seed})`, () => play(scenario))
})

/** See the top of the file. */
async function play(scenario: Scenario): Promise<void> {
  const random = new Random(seed)
  const content = randomContent(size, random)
  const rehearsal = await setUp(content, random)
  await scenario.prepare?.(rehearsal)
  rehearsal.fakes.log.length = 0
  await rehearsal.graph.change((change) => scenario.run(change, rehearsal))
  const steps = rehearsal.fakes.log.filter((step) => /\.(open|permissions|reopen|drain-begin)$/.test(step))
  await rehearsal.graph.close()

  const at = await setUp(content, random)
  await scenario.prepare?.(at)
  const load = new Load(at.disk, content.slice(), random)
  const counts = new Map<string, number>()
  for (const step of steps) {
    const after = counts.get(step) ?? 0
    counts.set(step, after + 1)
    await load.go(random.between(1, 10))
    const before = stateOf(at.graph)
    at.fakes.fail(step, undefined, after)
    const change = at.graph.change((change) => scenario.run(change, at))
    await expect(inTime(step, change), `${step} after ${after} (seed ${seed})`).rejects.toThrow(`${step} fails`)
    expect(stateOf(at.graph), `${step} after ${after} (seed ${seed})`).toEqual(before)
  }
  expect(steps.length).toBeGreaterThan(2)
  await load.go(10)
  await inTime(
    'the change',
    at.graph.change((change) => scenario.run(change, at)),
  )
  await scenario.check(at)
  await load.go(30)
  await load.stop()
  await at.graph.close()
  expect([...at.graph.nodes]).toEqual([])
}

/** Disk `top`, a filter over `base`, a qcow2 image over jitter over the fake `store`; and `others`, a list of its own. */
async function setUp(content: Uint8Array, random: Random): Promise<Fixture> {
  const fakes = new FakeDrivers()
  const faults: Faults = jitter(random)
  const graph = fakes.graph([qcow2, faults.driver as DriverDescriptor])
  await graph.createUnchecked({ driver: 'qcow2', size, file: { driver: 'disk', disk: 'store', size: 0 } })
  const disk = await graph.addUnchecked({
    driver: 'filter',
    nodeName: 'top',
    file: {
      driver: 'qcow2',
      nodeName: 'base',
      file: { driver: 'testkit-fault', file: { driver: 'disk', nodeName: 'store' } },
    },
  })
  await graph.addNode({ driver: 'many', nodeName: 'others', children: [{ driver: 'disk', size: 512 }] })
  await disk.write(0, content)
  return { fakes, graph, disk, ends: [] }
}

/** A node for a copy of `base`, and the users of a job that copies. */
async function addCopy({ graph, ends }: Fixture): Promise<void> {
  await graph.addNode({ driver: 'disk', nodeName: 'copy', size })
  ends.push(await graph.attach('base', { permissions: Permission.ConsistentRead }))
  ends.push(await graph.attach('copy', { permissions: Permission.Write }))
}

/** Copies the disk while nothing is in flight, and ends the users of the job. */
async function copied(change: Change, { graph, ends }: Fixture): Promise<void> {
  const [reader, writer] = ends as [Disk, Disk]
  for (const end of ends) change.admit(end)
  await change.drain('base')
  const buf = new Uint8Array(size)
  await reader.read(0, buf)
  await writer.write(0, buf)
  for (const end of ends) await change.detach(end)
  expect(graph.find('copy')?.parents.size).toBe(0)
}

async function addOverlay(graph: Graph, name: string): Promise<void> {
  const store = `${name}-store`
  await graph.createUnchecked({ driver: 'qcow2', size, file: { driver: 'disk', disk: store, size: 0 } })
  await graph.addNode({ driver: 'qcow2', nodeName: name, file: { driver: 'disk', nodeName: store } })
}

function below(graph: Graph, name: string): string | undefined {
  return graph.find(name)?.children.get('file')?.node.name
}
