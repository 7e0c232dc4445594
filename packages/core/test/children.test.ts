import { describe, expect, it } from 'vitest'
import { type GraphChange, Permission } from '../src/index.ts'
import { FakeDrivers, shape, stateOf } from './fake-drivers.ts'

const { ConsistentRead } = Permission

/** Disk `a` below filter `f`, in use; disk `b`, overlay `o` and list `m` without a user. Tells of changes. */
async function setUp() {
  const fakes = new FakeDrivers()
  const graph = fakes.graph()
  await graph.addUnchecked({ driver: 'filter', nodeName: 'f', file: { driver: 'disk', nodeName: 'a' } })
  await graph.addNode({ driver: 'disk', nodeName: 'b', size: 512 })
  await graph.addNode({ driver: 'overlay', nodeName: 'o', file: { driver: 'disk', nodeName: 'c' } })
  await graph.addNode({ driver: 'many', nodeName: 'm', children: [{ driver: 'disk', nodeName: 'd' }] })
  const told: GraphChange[] = []
  graph.onChange((change) => told.push(change))
  fakes.log.length = 0
  return { fakes, graph, told }
}

describe('children', () => {
  it('of a list are added at its end, swapped, and removed, and the image and listeners hear of it', async () => {
    const { fakes, graph, told } = await setUp()
    for (let i = 0; i < 11; i++) await graph.addNode({ driver: 'disk', nodeName: `n${i}` })
    for (let i = 0; i < 10; i++) expect(await graph.addChild('m', 'children', `n${i}`)).toBe(`children.${i + 1}`)
    expect(fakes.log).toContain('m.check-child children.1=4096')
    expect(fakes.log).toContain('m.changed children')
    told.length = 0
    fakes.log.length = 0
    await graph.setChild('m', 'children.10', 'n10')
    expect(shape(graph).m?.['children.10']).toBe('n10')
    expect(told).toEqual([{ kind: 'child-changed', node: 'm', child: 'children.10' }])
    await graph.setChild('m', 'children.10', undefined)
    await graph.setChild('m', 'children.3', undefined)
    expect(fakes.log).toContain('m.check-child children.3=undefined')
    expect(Object.keys(shape(graph).m ?? {})).not.toContain('children.3')
    expect(told.at(-1)).toEqual({ kind: 'child-changed', node: 'm', child: 'children.3' })
    expect(await graph.addChild('m', 'children', 'n2')).toBe('children.10')
    await graph.setChild('m', 'spare', 'b')
    expect(await graph.addChild('m', 'children', 'n10')).toBe('children.11')
    await graph.setChild('m', 'children.77', undefined)
    const list = await graph.attach('m')
    await list.write(0, new Uint8Array([5]))
    expect([fakes.bytes('n2')[0], fakes.bytes('n10')[0], fakes.bytes('d')[0]]).toEqual([5, 5, 5])
    await graph.close()
  })

  it('that were removed come back in their order when the change fails', async () => {
    const { graph } = await setUp()
    for (const name of ['b', 'a2']) {
      if (graph.find(name) === undefined) await graph.addNode({ driver: 'disk', nodeName: name })
      await graph.addChild('m', 'children', name)
    }
    const names = [...(graph.find('m')?.children.keys() ?? [])]
    const change = graph.change(async (change) => {
      await change.setChild('m', 'children.0', undefined)
      throw new Error('no')
    })
    await expect(change).rejects.toThrow('no')
    expect([...(graph.find('m')?.children.keys() ?? [])]).toEqual(names)
    await graph.close()
  })

  it('that are given as definitions are opened in the change, and closed when it fails', async () => {
    const { graph } = await setUp()
    const names = (): string[] => [...graph.nodes].map(({ name }) => name)
    const before = names()
    const disk = (nodeName: string) => ({ driver: 'disk', nodeName }) as never
    await expect(
      graph.change(async (change) => {
        await change.addChild('m', 'children', disk('new'))
        throw new Error('no')
      }),
    ).rejects.toThrow('no')
    expect(names()).toEqual(before)
    expect(await graph.addChild('m', 'children', disk('new'))).toBe('children.1')
    await graph.setChild('o', 'backing', disk('base'))
    expect([shape(graph).m?.['children.1'], shape(graph).o?.backing]).toEqual(['new', 'base'])
    await graph.setChild('o', 'backing', undefined)
    expect(graph.find('base')).toBeUndefined()
    await expect(graph.setChild('o', 'none', disk('other'))).rejects.toThrow("has no child 'none'")
    await graph.close()
  })

  it('backing files are set, changed and taken away, and a node that only a link kept is closed', async () => {
    const { fakes, graph } = await setUp()
    const user = await graph.attach('o')
    fakes.content.set('b', new Uint8Array(512).fill(7))
    const read = async (): Promise<number | undefined> => {
      const buf = new Uint8Array(1)
      await user.read(0, buf)
      return buf[0]
    }
    await graph.change((change) => change.setBacking('o', 'b'))
    expect(await read()).toBe(7)
    expect(graph.find('o')?.backing?.permissions).toBe(ConsistentRead)
    await graph.change(async (change) => {
      await change.setBacking('o', await change.openUnchecked({ driver: 'disk', nodeName: 'other' }))
    })
    expect([await read(), graph.find('other')?.explicit]).toEqual([0, false])
    await graph.change((change) => change.setBacking('o', undefined))
    expect(await read()).toBe(0)
    expect([graph.find('other'), graph.find('o')?.backing]).toEqual([undefined, undefined])
    await graph.change((change) => change.setBacking('o', undefined))
    await graph.close()
  })

  it('are refused where there are none of that name, where one is needed, into a loop, and while it is blocked', async () => {
    const { fakes, graph } = await setUp()
    const before = stateOf(graph)
    for (const [parent, name] of [
      ['o', 'nonsense'],
      ['o', 'file.0'],
      ['o', 'constructor'],
      ['m', 'children'],
      ['m', 'spare.1'],
      ['b', 'mode'],
      ['m', 'children.x'],
    ] as const) {
      const driver = graph.find(parent)?.driver.name
      await expect(graph.setChild(parent, name, 'a')).rejects.toThrow(`driver '${driver}' has no child '${name}'`)
    }
    await expect(graph.addChild('o', 'file', 'a')).rejects.toMatchObject({ code: 'EINVAL' })
    await expect(graph.setChild('o', 'file', undefined)).rejects.toThrow("node 'o' needs its child 'file'")
    await expect(graph.setChild('o', 'backing', 'o')).rejects.toThrow("node 'o' is above node 'o'")
    fakes.fail('m.check-child')
    await expect(graph.addChild('m', 'children', 'b')).rejects.toThrow('m.check-child fails')
    const release = graph.block('m', { reason: 'a job', operations: ['change-child'] })
    await expect(graph.addChild('m', 'children', 'b')).rejects.toMatchObject({ code: 'EBUSY' })
    release()
    const unblock = graph.block('b', { reason: 'a job', operations: ['attach'] })
    await expect(graph.addChild('m', 'children', 'b')).rejects.toMatchObject({ code: 'EBUSY' })
    await expect(graph.attach('b')).rejects.toMatchObject({ code: 'EBUSY' })
    unblock()
    const thaw = graph.freezeChain('f', 'a', 'a job')
    thaw()
    expect(stateOf(graph)).toEqual(before)
    await graph.close()
  })
})
