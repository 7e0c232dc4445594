import { describe, expect, it } from 'vitest'
import { Node } from '../src/graph/node.ts'
import type { Graph } from '../src/index.ts'
import { Opening } from '../src/opening/opening.ts'
import { topBase } from '../src/options/base-options.ts'
import { FakeDrivers, isPending } from './fake-drivers.ts'

/** A graph with disk `a`, and a node of format `overlay` that is in no table yet. */
async function setUp() {
  const fakes = new FakeDrivers()
  const graph = fakes.graph()
  const child = await graph.addNode({ driver: 'disk', nodeName: 'a' })
  const node = new Node({
    ...topBase,
    name: 'n',
    driver: fakes.overlay,
    options: {},
    filename: '',
    children: new Map(),
    clock: graph.clock,
  })
  return { fakes, graph, child, node }
}

const state = ({ activity, opening }: Node) => [activity.count, opening]

/** Links `child` as the storage of what is being opened; the pin that it takes back is given first. */
function link(opening: Opening, child: Node): Promise<void> {
  child.pins++
  return opening.link([{ name: 'file', role: 'storage', node: child }])
}

async function letGo(graph: Graph, node: Node): Promise<void> {
  await graph.within(undefined, () => graph.table.discard(node))
  await graph.close()
}

describe('an opening', () => {
  it('is work of its node from its first link to its end, which may come twice', async () => {
    const { graph, child, node } = await setUp()
    const opening = new Opening(graph, node, undefined)
    await opening.link([])
    expect(state(node)).toEqual([0, false])
    await link(opening, child)
    expect(state(node)).toEqual([1, true])
    expect([child.pins, child.parents.size, node.children.get('file')?.node]).toEqual([0, 1, child])
    opening.end()
    opening.end()
    expect(state(node)).toEqual([0, false])
    await letGo(graph, node)
  })

  it('is no such work while it is suspended, and is afterwards, whether that went well or not', async () => {
    const { graph, node } = await setUp()
    const opening = new Opening(graph, node, undefined)
    for (const failing of [false, true, false]) {
      const work = opening.suspended(async () => {
        expect(state(node)).toEqual([0, false])
        if (failing) throw new Error('no')
        return 5
      })
      if (failing) await expect(work).rejects.toThrow('no')
      else expect(await work).toBe(5)
      expect(state(node)).toEqual([1, true])
    }
    opening.end()
    await graph.close()
  })

  it('goes on after it was suspended only when the section that came meanwhile has ended', async () => {
    const { graph, node } = await setUp()
    const opening = new Opening(graph, node, undefined)
    const work = opening.suspended(async () => void node.quiesced++)
    expect(await isPending(work)).toBe(true)
    node.line.wake()
    expect(await isPending(work)).toBe(true)
    expect(state(node)).toEqual([0, false])
    node.quiesced--
    node.line.wake()
    await work
    expect(state(node)).toEqual([1, true])
    opening.end()
    await graph.close()
  })

  it('waits for no section that came after it was linked', async () => {
    const { graph, child, node } = await setUp()
    const opening = new Opening(graph, node, undefined)
    await opening.suspended(async () => {
      await link(opening, child)
      node.quiesced++
    })
    expect(state(node)).toEqual([1, true])
    node.quiesced--
    opening.end()
    await letGo(graph, node)
  })

  it('inside a change is no work that the change would wait for, nor waits itself', async () => {
    const { graph, child, node } = await setUp()
    await graph.change(async (change) => {
      const opening = new Opening(graph, node, change)
      node.quiesced++
      await opening.suspended(async () => undefined)
      expect(state(node)).toEqual([0, false])
      await opening.suspended(() => link(opening, child))
      expect(state(node)).toEqual([0, false])
      opening.end()
      expect(state(node)).toEqual([0, false])
      node.quiesced--
    })
    await letGo(graph, node)
  })

  it('that may not have its child leaves no link behind, and takes back the pin', async () => {
    const { graph, child, node } = await setUp()
    const user = await graph.attach('a')
    const opening = new Opening(graph, node, undefined)
    await expect(link(opening, child)).rejects.toMatchObject({ code: 'EPERM' })
    expect([node.children.size, child.parents.size, child.pins]).toEqual([0, 1, 0])
    expect(state(node)).toEqual([0, false])
    await user.close()
    await graph.close()
  })
})
