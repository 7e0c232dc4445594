import { describe, expect, it } from 'vitest'
import { type GraphChange, Permission, Root } from '../src/index.ts'
import { FakeDrivers, settle, shape, stateOf } from './fake-drivers.ts'

const { ConsistentRead, Write, Resize, All } = Permission
const reader = { permissions: ConsistentRead, shared: All }

/** Disk `a` below filter `f`, with a handle; disk `b`, overlay `o` and list `m` without a user. Tells of changes. */
async function setUp() {
  const fakes = new FakeDrivers()
  const graph = fakes.graph()
  const disk = await graph.addUnchecked({ driver: 'filter', nodeName: 'f', file: { driver: 'disk', nodeName: 'a' } })
  await graph.addNode({ driver: 'disk', nodeName: 'b', size: 512 })
  await graph.addNode({ driver: 'overlay', nodeName: 'o', file: { driver: 'disk', nodeName: 'c' } })
  await graph.addNode({ driver: 'many', nodeName: 'm', children: [{ driver: 'disk', nodeName: 'd' }] })
  const told: GraphChange[] = []
  graph.onChange((change) => told.push(change))
  fakes.log.length = 0
  return { fakes, graph, disk, told }
}

describe('attach and detach', () => {
  it('give a user its place and take it again, and tell of it', async () => {
    const { fakes, graph, disk, told } = await setUp()
    const user = await graph.attach('b', { permissions: ConsistentRead, shared: ConsistentRead })
    expect([...graph.roots]).toEqual([disk, user])
    expect([user.edge.permissions, user.edge.shared]).toEqual([ConsistentRead, ConsistentRead])
    expect([graph.find('b')?.permissions, graph.find('b')?.shared]).toEqual([ConsistentRead, ConsistentRead])
    expect(told).toEqual([{ kind: 'root-attached', node: 'b' }])
    await user.close()
    expect([...graph.roots]).toEqual([disk])
    expect([graph.find('b')?.permissions, graph.find('b')?.shared]).toEqual([0, All])
    expect(told.slice(1)).toEqual([{ kind: 'root-detached', node: 'b' }])
    await disk.close()
    expect(told.slice(2)).toEqual([
      { kind: 'root-detached', node: 'f' },
      { kind: 'node-removed', node: 'f' },
      { kind: 'node-removed', node: 'a' },
    ])
    told.length = 0
    await graph.detachRoot(disk)
    expect(told).toEqual([])
    expect(fakes.log.filter((step) => step.endsWith('.close'))).toEqual(['f.close', 'a.close'])
    await graph.close()
  })

  it('refuse what another user does not share, when both come at once', async () => {
    const { graph } = await setUp()
    const results = await Promise.allSettled([
      graph.attach('b', { permissions: Write, shared: ConsistentRead }),
      graph.attach('b', { permissions: Write, shared: ConsistentRead }),
    ])
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect([...graph.roots]).toHaveLength(2)
    await graph.close()
  })

  it('may come in one change with what the user does alone, which leaves it its permissions', async () => {
    const { fakes, graph } = await setUp()
    const root = new Root(graph.find('b') as never, { description: 'r', permissions: reader })
    const seen: number[] = []
    await graph.change(async (change) => {
      await change.attach(root, { permissions: ConsistentRead | Write, shared: ConsistentRead })
      await change.alone(root, { operation: 'resize', permissions: Resize }, async (node) => {
        seen.push(node.permissions, root.edge.permissions)
        await node.truncate(1024)
      })
    })
    expect(seen).toEqual([ConsistentRead | Write | Resize, ConsistentRead | Write | Resize])
    expect([root.edge.permissions, root.edge.shared]).toEqual([ConsistentRead | Write, ConsistentRead])
    expect(fakes.bytes('b').length).toBe(1024)
    await graph.close()
  })
})

describe('alone', () => {
  it('needs no second look at permissions that the user has', async () => {
    const { fakes, graph } = await setUp()
    const user = await graph.attach('b', { permissions: ConsistentRead | Write | Resize })
    fakes.log.length = 0
    await user.truncate(1024)
    expect(fakes.log).toEqual(['b.drain-begin', 'b.truncate', 'b.drain-end'])
    fakes.log.length = 0
    await user.check({ repair: 'none' })
    expect(fakes.log).toEqual(['b.drain-begin', 'b.check', 'b.drain-end'])
    await graph.close()
  })

  it('gives the permissions back, also when the work fails', async () => {
    const { fakes, graph } = await setUp()
    const user = await graph.attach('b')
    fakes.fail('b.truncate')
    await expect(user.truncate(1024)).rejects.toThrow('b.truncate fails')
    expect([user.edge.permissions, graph.find('b')?.permissions]).toEqual([
      ConsistentRead | Write,
      ConsistentRead | Write,
    ])
    await user.truncate(1024)
    expect(user.size).toBe(1024)
    expect(graph.find('b')?.permissions).toBe(ConsistentRead | Write)
    await graph.close()
  })

  it('resizes beside users who let nobody else write', async () => {
    const { graph } = await setUp()
    const guest = await graph.attach('b', { permissions: ConsistentRead | Write, shared: All & ~Write })
    const other = await graph.attach('b', { permissions: Resize })
    await other.truncate(1024)
    expect(guest.size).toBe(1024)
    await expect(other.amend({ options: {} })).rejects.toMatchObject({ code: 'EPERM' })
    await graph.close()
  })

  it('is refused when others do not share the permission, or the operation is blocked, or the user is gone', async () => {
    const { fakes, graph } = await setUp()
    const user = await graph.attach('b')
    const other = await graph.attach('b', { permissions: 0, shared: All & ~Resize })
    await expect(user.truncate(1024)).rejects.toMatchObject({ code: 'EPERM' })
    await other.close()
    for (const [operation, run] of [
      ['resize', () => user.truncate(1024)],
      ['check', () => user.check({ repair: 'none' })],
      ['amend', () => user.amend({ options: {} })],
      ['snapshot', () => user.snapshots.create({ name: 's' })],
    ] as const) {
      const release = graph.block('b', { reason: 'a job', operations: [operation] })
      await expect(run()).rejects.toMatchObject({ code: 'EBUSY', message: "Node 'b' is busy: a job" })
      release()
    }
    expect(fakes.log.filter((step) => /truncate|check|amend|snapshot/.test(step))).toEqual([])
    await user.close()
    await expect(user.check({ repair: 'none' })).rejects.toThrow(
      'disk \'json:{"driver": "disk", "size": 512}\' is closed',
    )
    await graph.close()
  })

  it('says what the image cannot do', async () => {
    const { graph, disk } = await setUp()
    await expect(disk.check({ repair: 'none' })).rejects.toThrow('This image format does not support checks')
    await expect(disk.amend({ options: {} })).rejects.toThrow(
      "Format driver 'filter' does not support option amendment",
    )
    expect(() => disk.snapshots).toThrow("driver 'filter' has no internal snapshots")
    const list = await graph.attach('m')
    await expect(list.truncate(0)).rejects.toThrow('Image format driver does not support resize')
    await graph.close()
  })
})

describe('move', () => {
  it('lets a user use another node, and tells of it', async () => {
    const { fakes, graph, disk, told } = await setUp()
    await graph.change((change) => change.move(disk.edge, 'b'))
    expect(disk.nodeName).toBe('b')
    expect(graph.find('b')?.permissions).toBe(ConsistentRead | Write)
    expect(graph.find('f')).toBeUndefined()
    expect(told[0]).toEqual({ kind: 'child-changed', node: 'b', child: 'root' })
    await disk.write(0, new Uint8Array([9]))
    expect(fakes.bytes('b')[0]).toBe(9)
    fakes.log.length = 0
    told.length = 0
    await graph.change((change) => change.move(disk.edge, 'b'))
    expect([fakes.log, told]).toEqual([[], []])
    await graph.close()
  })

  it('is refused into a loop, for a child without a node, along a frozen link, and to what is not there', async () => {
    const { graph, disk } = await setUp()
    const before = stateOf(graph)
    const file = graph.find('f')?.children.get('file') as never
    const top = await graph.addNode({ driver: 'filter', nodeName: 'top', file: 'f' })
    const moves: [() => Promise<unknown>, string][] = [
      [() => graph.change((change) => change.move(file, 'top')), "node 'top' is above node 'f'"],
      [() => graph.change((change) => change.move(file, 'f')), "node 'f' is above node 'f'"],
      [() => graph.change((change) => change.move(file, undefined)), "node 'f' needs its child"],
      [
        () => graph.change((change) => change.move(disk.edge, 'none')),
        "Cannot find device='none' nor node-name='none'",
      ],
    ]
    for (const [move, message] of moves) await expect(move()).rejects.toThrow(message)
    const thaw = graph.freezeChain('f', 'a', 'a job runs')
    await expect(graph.change((change) => change.move(file, 'b'))).rejects.toThrow(
      "Cannot change frozen 'file' link from 'f' to 'a': a job runs",
    )
    await expect(graph.removeFilter('f')).rejects.toMatchObject({ code: 'EPERM' })
    await expect(graph.setChild('f', 'file', 'b')).rejects.toMatchObject({ code: 'EPERM' })
    thaw()
    await graph.remove(top)
    expect(stateOf(graph)).toEqual(before)
    await graph.close()
  })
})

describe('replace, insert and remove', () => {
  it('replace lets all parents, or those that are picked, use another node', async () => {
    const { graph } = await setUp()
    const [first, second] = [await graph.attach('a'), await graph.attach('a')]
    await graph.replace('a', 'b', (edge) => edge === first.edge)
    expect([first.nodeName, second.nodeName, shape(graph).f]).toEqual(['b', 'a', { file: 'a' }])
    await graph.replace('a', 'b')
    expect([second.nodeName, shape(graph).f]).toEqual(['b', { file: 'b' }])
    expect(graph.find('a')).toBeUndefined()
    await graph.replace('b', 'b')
    expect(graph.find('b')).toBeDefined()
    await graph.close()
  })

  it('insert puts a filter below all parents, with the mode of the node, and remove takes it out', async () => {
    const { fakes, graph, told } = await setUp()
    await graph.reopen('b', { readOnly: true })
    const user = await graph.attach('b')
    const other = await graph.attach('b')
    told.length = 0
    const filter = await graph.insertFilterUnchecked('b', { driver: 'filter', nodeName: 'n' })
    expect([user.node, other.node, filter.readOnly, filter.discardMode]).toEqual([filter, filter, true, 'unmap'])
    expect(shape(graph).n).toEqual({ file: 'b' })
    expect(told.map(({ kind, node }) => `${kind} ${node}`)).toEqual([
      'node-added n',
      'child-changed n',
      'child-changed n',
    ])
    filter.explicit = true
    await graph.removeFilter('n')
    expect([user.nodeName, other.nodeName]).toEqual(['b', 'b'])
    expect(graph.find('n')).toBeUndefined()
    expect(fakes.log).toContain('n.close')
    await graph.close()
  })

  it('two inserts at once both come to stand in the path', async () => {
    const { graph } = await setUp()
    const user = await graph.attach('b')
    await Promise.all(
      ['one', 'two'].map((nodeName) => graph.insertFilterUnchecked('b', { driver: 'filter', nodeName })),
    )
    const path: string[] = []
    for (let node = user.node; ; ) {
      path.push(node.name)
      const below = node.filtered?.node
      if (below === undefined) break
      node = below
    }
    expect(path.sort()).toEqual(['b', 'one', 'two'])
    await graph.close()
  })

  it('are refused while they are blocked, and for what is no filter', async () => {
    const { graph } = await setUp()
    const before = stateOf(graph)
    const block = (operation: 'replace' | 'remove', node: string) =>
      graph.block(node, { reason: 'a job', operations: [operation] })
    for (const release of [block('replace', 'a')]) {
      await expect(graph.replace('a', 'b')).rejects.toMatchObject({ code: 'EBUSY' })
      await expect(graph.insertFilterUnchecked('a', { driver: 'filter' })).rejects.toMatchObject({ code: 'EBUSY' })
      await graph.setChild('o', 'backing', 'b')
      await graph.setChild('o', 'backing', undefined)
      release()
    }
    const release = block('remove', 'f')
    await expect(graph.removeFilter('f')).rejects.toMatchObject({ code: 'EBUSY' })
    release()
    await expect(graph.removeFilter('o')).rejects.toThrow("node 'o' is not a filter: it has no filtered child")
    expect(stateOf(graph)).toEqual(before)
    await graph.close()
  })

  it('a removal that fails leaves the filter with who added it', async () => {
    const { fakes, graph, disk } = await setUp()
    const filter = await graph.addNode({ driver: 'filter', nodeName: 'n', file: 'b' })
    fakes.fail('b.drain-begin')
    const removal = graph.change(async (change) => {
      await change.remove('n')
      await change.commit()
    })
    await expect(removal).rejects.toThrow('b.drain-begin fails')
    expect(filter.explicit).toBe(true)
    const later = graph.change(async (change) => {
      await change.remove('n')
      expect(filter.explicit).toBe(false)
      throw new Error('later')
    })
    await expect(later).rejects.toThrow('later')
    expect(filter.explicit).toBe(true)
    await disk.close()
    await graph.close()
  })
})

describe('pin', () => {
  it('keeps a node for the rest of the change, and lets it go when the change ends', async () => {
    const { graph, disk } = await setUp()
    await graph.change(async (change) => {
      const unpin = change.pin('f')
      expect(graph.find('f')?.pins).toBe(1)
      await change.detach(disk)
      await change.commit()
      unpin()
      unpin()
      expect(graph.find('f')?.pins).toBe(0)
    })
    expect(graph.find('f')).toBeUndefined()
    await graph.close()
  })

  it('keeps it until it is called, though the change has ended, and closes it then', async () => {
    const { graph, disk } = await setUp()
    let unpin = (): void => undefined
    await graph.change(async (change) => {
      unpin = change.pin('f')
      await change.detach(disk)
    })
    expect(graph.find('f')?.pins).toBe(1)
    unpin()
    await settle()
    expect(graph.find('f')).toBeUndefined()
    await graph.close()
  })
})

describe('an opening inside a change', () => {
  it('is closed again when nobody uses it at the end, and one that others keep is not', async () => {
    const { fakes, graph } = await setUp()
    await graph.change(async (change) => {
      const node = await change.openUnchecked({ driver: 'disk', nodeName: 'n' })
      expect([graph.find('n'), node.pins]).toEqual([node, 0])
      expect(await change.openUnchecked(graph.find('b') as never)).toBe(graph.find('b'))
    })
    expect([graph.find('n'), graph.find('b')?.name]).toEqual([undefined, 'b'])
    expect(fakes.log).toContain('n.close')
    await graph.close()
  })

  it('gives up no permission of what the change has moved before it is decided', async () => {
    for (const failing of [undefined, 'n.open', 'later']) {
      const { fakes, graph, disk } = await setUp()
      const before = stateOf(graph)
      fakes.log.length = 0
      if (failing !== undefined) fakes.fail(failing)
      const change = graph.change(async (change) => {
        await change.move(disk.edge, 'b')
        await change.openUnchecked({ driver: 'filter', nodeName: 'n', file: 'f' })
        expect([graph.find('f')?.permissions, graph.find('a')?.permissions]).toEqual([3, 3])
        fakes.strike('later')
        await change.move(disk.edge, 'n')
      })
      if (failing === undefined) {
        await change
        await disk.write(0, new Uint8Array([4]))
        expect(fakes.bytes('a')[0]).toBe(4)
      } else {
        await expect(change).rejects.toThrow(`${failing} fails`)
        expect(stateOf(graph)).toEqual(before)
        expect(fakes.log.filter((step) => /^[fa]\.loosening/.test(step) && !step.endsWith('commit'))).toEqual([])
      }
      expect(graph.find('a')?.permissions).toBe(3)
      await graph.close()
    }
  })

  it('whose closing fails is a warning', async () => {
    const { fakes, graph } = await setUp()
    fakes.fail('n.close')
    await graph.change((change) => change.openUnchecked({ driver: 'disk', nodeName: 'n' }))
    expect(fakes.warnings).toEqual(['closing a node that is no longer used failed: n.close fails'])
    await graph.close()
  })
})
