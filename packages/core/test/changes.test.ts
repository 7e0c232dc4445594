import { describe, expect, it } from 'vitest'
import { BlockError, type Change, type Disk, type Graph, Permission, Root } from '../src/index.ts'
import { FakeDrivers, isPending, settle, stateOf } from './fake-drivers.ts'

/** Disk `a` below filter `f`, with a handle; disk `b` and overlay `o` without a user. */
async function setUp() {
  const fakes = new FakeDrivers()
  const graph = fakes.graph()
  const disk = await graph.addUnchecked({ driver: 'filter', nodeName: 'f', file: { driver: 'disk', nodeName: 'a' } })
  await graph.addNode({ driver: 'disk', nodeName: 'b' })
  await graph.addNode({ driver: 'overlay', nodeName: 'o', file: { driver: 'disk', nodeName: 'c' } })
  await graph.addNode({ driver: 'many', nodeName: 'm', children: [{ driver: 'disk', nodeName: 'd' }] })
  return { fakes, graph, disk }
}

interface Work {
  readonly graph: Graph
  readonly disk: Disk
}

const reader = { permissions: Permission.ConsistentRead, shared: Permission.All }

function root(graph: Graph, name: string): Root {
  const node = graph.find(name)
  if (node === undefined) throw new Error(`no node '${name}'`)
  return new Root(node, { description: `user of ${name}`, permissions: reader })
}

/** Every kind of step, and several in one change. */
const works: Readonly<Record<string, (change: Change, at: Work) => Promise<unknown>>> = {
  attach: (change, { graph }) => change.attach(root(graph, 'b'), reader),
  detach: (change, { disk }) => change.detach(disk),
  'move of a root': (change, { disk }) => change.move(disk.edge, 'b'),
  'taking out the medium': (change, { disk }) => change.move(disk.edge, undefined),
  'move of a child': (change, { graph }) => change.move(graph.find('f')?.children.get('file') as never, 'b'),
  replace: (change) => change.replace('a', 'b'),
  insert: (change) => change.insertUnchecked('a', { driver: 'filter', nodeName: 'new' }),
  remove: (change) => change.remove('f'),
  'setBacking where there is none': (change) => change.setBacking('o', 'b'),
  'setChild that swaps': (change) => change.setChild('o', 'file', 'b'),
  'addition and removal of children': async (change) => {
    await change.addChild('m', 'children', 'b')
    await change.setChild('m', 'children.0', undefined)
  },
  'reopen of several nodes': async (change) => {
    await change.reopen('a', { mode: 'new', detectZeroes: 'on' })
    await change.reopen('f', { mode: 'new', cache: { noFlush: true } })
    await change.reopen('b', { readOnly: true })
  },
  'open and use': async (change, { disk }) => {
    const node = await change.openUnchecked({ driver: 'filter', nodeName: 'new', file: 'b' })
    await change.move(disk.edge, node)
  },
  alone: (change, { disk }) =>
    change.alone(disk, { operation: 'resize', permissions: Permission.Resize }, (node) => node.truncate(4096)),
  'all at once': async (change, { graph, disk }) => {
    await change.reopen('b', { mode: 'new' })
    await change.insertUnchecked('a', { driver: 'filter', nodeName: 'new' })
    await change.setBacking('o', 'b')
    await change.attach(root(graph, 'o'), reader)
    await change.remove('f')
    await change.move(disk.edge, await change.openUnchecked({ driver: 'disk', nodeName: 'e' }))
  },
}

/** Steps of images that a change takes and that may fail. */
const mayFail = /\.(open|permissions|reopen|drain-begin|check-child)( |$)/

async function stepsOf(work: (change: Change, at: Work) => Promise<unknown>): Promise<string[]> {
  const { fakes, graph, disk } = await setUp()
  fakes.log.length = 0
  await graph.change((change) => work(change, { graph, disk }))
  const steps = fakes.log.filter((step) => mayFail.test(step)).map((step) => step.replace(/ .*/, ''))
  await graph.close()
  return steps
}

describe.each(Object.entries(works))('%s', (_, work) => {
  it('goes well', async () => {
    const { fakes, graph, disk } = await setUp()
    await graph.change((change) => work(change, { graph, disk }))
    for (const node of graph.nodes) expect([node.name, node.quiesced, node.pins]).toEqual([node.name, 0, 0])
    await graph.close()
    expect(fakes.warnings).toEqual([])
    expect([...graph.nodes]).toEqual([])
  })

  it('leaves everything as it was when a step of an image fails, whichever it is', async () => {
    const counts = new Map<string, number>()
    for (const step of await stepsOf(work)) {
      const after = counts.get(step) ?? 0
      counts.set(step, after + 1)
      const { fakes, graph, disk } = await setUp()
      const before = stateOf(graph)
      fakes.fail(step, undefined, after)
      fakes.log.length = 0
      const change = graph.change((change) => work(change, { graph, disk }))
      await expect(change, `${step} after ${after}`).rejects.toThrow(`${step} fails`)
      expect(stateOf(graph), `${step} after ${after}`).toEqual(before)
      expect(balance(fakes.log), `${step} after ${after}`).toEqual([])
      await disk.write(0, new Uint8Array([1, 2, 3]))
      expect([...fakes.bytes('a').subarray(0, 3)]).toEqual([1, 2, 3])
      await graph.close()
      expect([...graph.nodes]).toEqual([])
    }
  })

  it('goes well although an image fails to give back permissions', async () => {
    const { fakes, graph, disk } = await setUp()
    for (const { name } of graph.nodes) fakes.fail(`${name}.loosening`)
    await graph.change((change) => work(change, { graph, disk }))
    await graph.close()
    expect([...graph.nodes]).toEqual([])
  })

  it('leaves everything as it was when what follows it in the change fails', async () => {
    const { fakes, graph, disk } = await setUp()
    const before = stateOf(graph)
    fakes.log.length = 0
    const change = graph.change(async (change) => {
      await work(change, { graph, disk })
      throw new BlockError('EIO', 'what follows')
    })
    await expect(change).rejects.toThrow('what follows')
    expect(stateOf(graph)).toEqual(before)
    expect(balance(fakes.log)).toEqual([])
    await disk.write(0, new Uint8Array([1, 2, 3]))
    await graph.close()
  })

  it('keeps back requests until it has ended', async () => {
    const { fakes, graph, disk } = await setUp()
    const write = fakes.hold('a.write')
    const first = disk.write(0, new Uint8Array(1))
    await write.arrived
    const change = graph.drained('a', (change) => work(change, { graph, disk }))
    await settle()
    const second = disk.read(0, new Uint8Array(1))
    expect(await isPending(change)).toBe(true)
    expect(fakes.log).not.toContain('a.read')
    write.open()
    await change
    await first
    await second.catch((error) => expect(error.code).toBe('ENOMEDIUM'))
    await graph.close()
  })
})

/** Sections and preparations of `log` that were begun and not ended, or ended twice. */
function balance(log: readonly string[]): string[] {
  const open = new Map<string, number>()
  const add = (key: string, by: number): unknown => open.set(key, (open.get(key) ?? 0) + by)
  for (const step of log) {
    if (step.endsWith('.drain-begin')) add(step.replace('-begin', ''), 1)
    if (step.endsWith('.drain-end')) add(step.replace('-end', ''), -1)
    if (/\.(abort|commit)$/.test(step)) add(step.replace(/\.(abort|commit)$/, ''), -1)
    if (/\.(permissions|loosening|keeping|reopen)$/.test(step)) add(step, 1)
  }
  // A preparation that failed itself is neither committed nor aborted: at most one.
  const unbalanced = [...open].filter(([, count]) => count !== 0)
  const failed = unbalanced.findIndex(([key, count]) => /\.(permissions|loosening|reopen)$/.test(key) && count === 1)
  if (failed >= 0) unbalanced.splice(failed, 1)
  return unbalanced.map(([key, count]) => `${key}: ${count}`)
}
