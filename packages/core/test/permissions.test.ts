import { describe, expect, it } from 'vitest'
import { Passthrough } from '../src/driver.ts'
import { permissionsForRole } from '../src/graph/permissions.ts'
import { type DriverDescriptor, describePermissions, Flag, Permission } from '../src/index.ts'
import { FakeDrivers, stateOf } from './fake-drivers.ts'

const { ConsistentRead, Write, WriteUnchanged, Resize, All } = Permission

describe('the permissions of a role', () => {
  const own = { permissions: ConsistentRead | Write, shared: ConsistentRead | Write | Resize }

  it('are those of the node itself for its data and what it filters', () => {
    for (const role of ['data', 'filtered'] as const) expect(permissionsForRole(role, own, true)).toEqual(own)
  })

  it('of storage and metadata are all that a format needs, and exclude other writers', () => {
    for (const role of ['storage', 'metadata'] as const) {
      const shared = ConsistentRead | WriteUnchanged
      expect(permissionsForRole(role, own, true)).toEqual({ permissions: ConsistentRead | Write | Resize, shared })
      expect(permissionsForRole(role, own, false)).toEqual({ permissions: ConsistentRead, shared })
    }
  })

  it('of a backing file are reading only, and nobody may change it', () => {
    const shared = ConsistentRead | WriteUnchanged
    expect(permissionsForRole('cow', own, true)).toEqual({ permissions: ConsistentRead, shared })
    expect(permissionsForRole('cow', { permissions: Write, shared: All }, true)).toEqual({ permissions: 0, shared })
  })

  it('of a replica are those of the node, and others may not write behind its back', () => {
    expect(permissionsForRole('replica', own, true)).toEqual({ permissions: own.permissions, shared: ConsistentRead })
  })

  it('have names', () => {
    expect(describePermissions(All)).toBe('consistent read, write, write unchanged, resize')
    expect(describePermissions(Write | Resize)).toBe('write, resize')
    expect(describePermissions(0)).toBe('')
  })
})

describe('permissions in a graph', () => {
  it('spread from a user down to the storage, and go with the user', async () => {
    const graph = new FakeDrivers().graph()
    await graph.addNode({ driver: 'disk', nodeName: 'a' })
    await graph.addNode({ driver: 'filter', nodeName: 'f', file: 'a' })
    await graph.addNode({ driver: 'filter', nodeName: 'g', file: 'f' })
    const bits = () => ['g', 'f', 'a'].map((name) => [graph.find(name)?.permissions, graph.find(name)?.shared])
    const none = [0, All]
    expect(bits()).toEqual([none, none, none])
    const user = await graph.attach('g', { permissions: ConsistentRead | Write, shared: ConsistentRead })
    const full = [ConsistentRead | Write, ConsistentRead]
    expect(bits()).toEqual([full, full, full])
    const second = await graph.attach('f', { permissions: ConsistentRead, shared: All })
    await expect(graph.attach('f', { permissions: Resize })).rejects.toMatchObject({ code: 'EPERM' })
    await expect(graph.attach('a', { permissions: Write })).rejects.toMatchObject({ code: 'EPERM' })
    expect(bits()).toEqual([full, full, full])
    await user.close()
    expect(bits()).toEqual([none, [ConsistentRead, All], [ConsistentRead, All]])
    await second.close()
    expect(bits()).toEqual([none, none, none])
    await graph.close()
  })

  it('conflict in both directions, with both users named', async () => {
    const graph = new FakeDrivers().graph()
    await graph.addNode({ driver: 'disk', nodeName: 'a' })
    const writer = await graph.attach('a', { permissions: Write, shared: All })
    const before = stateOf(graph)
    const name = `disk 'json:{"driver": "disk"}' (uses node 'a' as 'root' child)`
    await expect(graph.attach('a', { permissions: 0, shared: ConsistentRead })).rejects.toThrow(
      `Permission conflict on node 'a': permissions 'write' are both required by ${name} and unshared by ${name}.`,
    )
    expect(stateOf(graph)).toEqual(before)
    await writer.close()
    const selfish = await graph.attach('a', { permissions: 0, shared: ConsistentRead })
    await expect(graph.attach('a', { permissions: Write | Resize })).rejects.toThrow("permissions 'write, resize'")
    await expect(graph.attach('a', { permissions: ConsistentRead })).resolves.toBeDefined()
    await selfish.close()
    await graph.close()
  })

  it('a read-only node gives none to change it, by whichever way they come', async () => {
    const graph = new FakeDrivers().graph()
    await graph.addNode({ driver: 'disk', nodeName: 'a', readOnly: true })
    for (const permissions of [Write, WriteUnchanged, Resize]) {
      await expect(graph.attach('a', { permissions })).rejects.toMatchObject({
        code: 'EPERM',
        message: 'Block node is read-only',
        node: 'a',
      })
    }
    await expect(graph.addUnchecked({ driver: 'overlay', file: 'a', readOnly: false })).rejects.toMatchObject({
      code: 'EPERM',
    })
    expect((await graph.attach('a')).edge.permissions).toBe(ConsistentRead)
    const overlay = await graph.addUnchecked({ driver: 'overlay', file: 'a', readOnly: true })
    expect(overlay.edge.permissions).toBe(ConsistentRead)
    await graph.close()
  })

  it('writing needs the permission to resize where the size is not a multiple of the alignment', async () => {
    const fakes = new FakeDrivers()
    const graph = fakes.graph()
    fakes.extra.set('a', { limits: { alignment: 512 } })
    fakes.content.set('a', new Uint8Array(1000))
    await graph.addNode({ driver: 'disk', nodeName: 'a' })
    for (const permissions of [Write, WriteUnchanged]) {
      await expect(graph.attach('a', { permissions })).rejects.toThrow(
        "Cannot get 'write' permission without 'resize': Image size is not a multiple of request alignment",
      )
      await (await graph.attach('a', { permissions: permissions | Resize })).close()
    }
    await (await graph.attach('a', { permissions: ConsistentRead })).close()
    await graph.close()
  })

  it('a node that shares all of its children lets others write there', async () => {
    const graph = new FakeDrivers().graph()
    await graph.addNode({ driver: 'disk', nodeName: 'a' })
    await graph.addNode({ driver: 'overlay', nodeName: 'o', file: 'a', readOnly: true, forceShare: true })
    const writer = await graph.attach('a', { permissions: ConsistentRead | Write })
    const user = await graph.attach('o', { permissions: ConsistentRead, shared: ConsistentRead })
    expect(user.node.children.get('file')?.shared).toBe(All)
    await writer.write(0, new Uint8Array(1))
    await graph.close()
  })

  it('a driver may say what it needs of a child, for the child and the permissions of its node', async () => {
    const fakes = new FakeDrivers()
    const asked: unknown[] = []
    const picky: DriverDescriptor = {
      name: 'picky',
      kind: 'filter',
      description: 'asks for itself',
      options: {
        file: { type: 'child', role: 'filtered', required: true, description: 'child' },
        need: { type: 'integer', default: 0, description: 'bits' },
      },
      open: async ({ children }) => new Passthrough(children.require('file')),
      childPermissions: ({ name, role, options }, permissions, shared) => {
        asked.push([name, role, permissions, shared])
        return { permissions: (options.need as number) | permissions, shared: ConsistentRead | Write }
      },
    }
    const graph = fakes.graph([picky])
    const user = await graph.addUnchecked(
      { driver: 'picky', need: WriteUnchanged, file: { driver: 'disk', nodeName: 'a' } },
      { permissions: ConsistentRead, shared: ConsistentRead },
    )
    expect(asked).toContainEqual(['file', 'filtered', 0, All])
    expect(asked).toContainEqual(['file', 'filtered', ConsistentRead, ConsistentRead])
    const edge = user.node.children.get('file')
    expect([edge?.permissions, edge?.shared]).toEqual([ConsistentRead | WriteUnchanged, ConsistentRead | Write])
    await graph.close()
  })

  it('a driver that throws when it is asked changes nothing, also in a reopen that was prepared', async () => {
    const fakes = new FakeDrivers()
    let broken = false
    const childPermissions = (_child: unknown, permissions: number, shared: number) => {
      if (broken) throw new Error('no idea')
      return { permissions, shared }
    }
    const graph = fakes.graph([{ ...fakes.filter, name: 'odd', childPermissions } as DriverDescriptor])
    await graph.addUnchecked(
      { driver: 'odd', nodeName: 'n', file: { driver: 'disk', nodeName: 'a' } },
      { permissions: ConsistentRead },
    )
    const before = stateOf(graph)
    broken = true
    fakes.log.length = 0
    await expect(graph.reopen('n', { readOnly: true, mode: 'new' })).rejects.toThrow('no idea')
    expect(fakes.log.filter((step) => step.includes('reopen'))).toEqual(['n.reopen', 'n.reopen.abort'])
    await expect(graph.attach('n', { permissions: Write })).rejects.toThrow('no idea')
    expect(stateOf(graph)).toEqual(before)
    broken = false
    await graph.close()
  })

  it('images make ready before anything is committed, with the new bits, and those after a failure are not asked', async () => {
    const fakes = new FakeDrivers()
    const graph = fakes.graph()
    const asked: unknown[] = []
    for (const name of ['a', 'f']) {
      const prepare = (permissions: number, shared: number) => {
        asked.push([name, permissions, shared, graph.find('a')?.permissions])
        fakes.strike(name)
        return { commit: () => asked.push(`${name} commit`), abort: () => asked.push(`${name} abort`) }
      }
      fakes.extra.set(name, { permissions: { prepare } } as never)
    }
    await graph.addNode({ driver: 'filter', nodeName: 'f', file: { driver: 'disk', nodeName: 'a' } })
    asked.length = 0
    const user = await graph.attach('f', { permissions: Write, shared: ConsistentRead })
    expect(asked).toEqual([['f', Write, ConsistentRead, 0], ['a', Write, ConsistentRead, 0], 'a commit', 'f commit'])
    await user.close()
    asked.length = 0
    fakes.fail('a')
    await expect(graph.attach('f', { permissions: Write })).rejects.toThrow('a fails')
    expect(asked).toEqual([['f', Write, All, 0], ['a', Write, All, 0], 'f abort'])
    await graph.close()
  })

  it('images whose commits or aborts throw leave nothing half way, and a warning', async () => {
    const fakes = new FakeDrivers()
    const graph = fakes.graph()
    const ended: string[] = []
    const broken = (word: string) => () => {
      ended.push(word)
      throw new Error(word)
    }
    for (const name of ['a', 'b']) {
      const prepare = async () => {
        await fakes.step(`${name}.prepare`)
        return { commit: broken(`${name} commit`), abort: broken(`${name} abort`) }
      }
      fakes.extra.set(name, { permissions: { prepare }, reopen: prepare })
    }
    await graph.addNode({ driver: 'disk', nodeName: 'a' })
    await graph.addNode({ driver: 'disk', nodeName: 'b' })
    await graph.change(async (change) => {
      await change.reopen('a', { mode: 'x' })
      await change.reopen('b', { mode: 'y' })
    })
    expect(ended).toEqual(['b commit', 'a commit'])
    expect([graph.find('a')?.options.mode, graph.find('b')?.options.mode]).toEqual(['x', 'y'])
    ended.length = 0
    fakes.fail('b.prepare')
    const change = graph.change(async (change) => {
      await change.reopen('a', { mode: 'z' })
      await change.reopen('b', { mode: 'z' })
    })
    await expect(change).rejects.toThrow('b.prepare fails')
    expect(ended).toEqual(['a abort'])
    expect(graph.find('a')?.options.mode).toBe('x')
    expect(fakes.warnings).toContain('the abort of a change that was prepared failed: a abort')
    await graph.close()
  })

  it('a write that changes nothing passes where writing does not', async () => {
    const graph = new FakeDrivers().graph()
    await graph.addNode({ driver: 'overlay', nodeName: 'o', file: { driver: 'disk', nodeName: 'c' } })
    await graph.addNode({ driver: 'disk', nodeName: 'b' })
    await graph.setChild('o', 'backing', 'b')
    const user = await graph.attach('o', { permissions: ConsistentRead })
    await expect(graph.attach('b')).rejects.toMatchObject({ code: 'EPERM' })
    const stream = await graph.attach('b', { permissions: ConsistentRead | WriteUnchanged })
    await stream.write(0, new Uint8Array(1), Flag.Unchanged)
    // Without a user of the overlay nobody would see the change, and users may say that they do not mind.
    await user.close()
    await graph.attach('o', { permissions: ConsistentRead, shared: All | Permission.BackingChange })
    await graph.attach('b')
    await expect(graph.attach('o')).rejects.toMatchObject({ code: 'EPERM' })
    await graph.close()
  })
})
