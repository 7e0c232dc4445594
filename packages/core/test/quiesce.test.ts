import { describe, expect, it } from 'vitest'
import { BlockError, type Change, type Node, Permission, Root } from '../src/index.ts'
import { FakeDrivers, isPending, settle, stateOf } from './fake-drivers.ts'

const reader = { permissions: Permission.ConsistentRead, shared: Permission.All }

async function setUp() {
  const fakes = new FakeDrivers()
  const graph = fakes.graph()
  const disk = await graph.addUnchecked({ driver: 'filter', nodeName: 'f', file: { driver: 'disk', nodeName: 'a' } })
  await graph.addNode({ driver: 'disk', nodeName: 'b' })
  fakes.log.length = 0
  return { fakes, graph, disk }
}

describe('a drained section', () => {
  it('begins when the requests in flight have ended, and keeps back new ones until it ends', async () => {
    const { fakes, graph, disk } = await setUp()
    const gate = fakes.hold('a.write')
    const write = disk.write(0, new Uint8Array([1]))
    await gate.arrived
    let begun = false
    let end = (): void => undefined
    const section = graph.drained('a', () => {
      begun = true
      return new Promise<void>((resolve) => {
        end = resolve
      })
    })
    await settle()
    const read = disk.read(0, new Uint8Array(1))
    await settle()
    expect(begun).toBe(false)
    gate.open()
    await write
    await settle()
    expect(begun).toBe(true)
    expect(fakes.log).not.toContain('a.read')
    end()
    await section
    await read
    expect(fakes.log.filter((step) => !step.includes('permissions'))).toEqual([
      'a.write',
      'a.drain-begin',
      'f.drain-begin',
      'a.drain-end',
      'f.drain-end',
      'a.read',
    ])
    await graph.close()
  })

  it.each(['read', 'write', 'writeZeroes', 'discard', 'flush', 'status', 'info'] as const)(
    'keeps back %s',
    async (kind) => {
      const { graph, disk } = await setUp()
      const start = {
        read: () => disk.read(0, new Uint8Array(1)),
        write: () => disk.write(0, new Uint8Array(1)),
        writeZeroes: () => disk.writeZeroes(0, 1),
        discard: () => disk.discard(0, 1),
        flush: () => disk.flush(),
        status: () => disk.status(0, 1),
        info: () => disk.info(),
      }[kind]
      let held: Promise<unknown> | undefined
      await graph.drained('a', async () => {
        held = start()
        expect(await isPending(held)).toBe(true)
      })
      await held
      await graph.close()
    },
  )

  it('of a node does not keep back users of other nodes', async () => {
    const { graph } = await setUp()
    const other = await graph.attach('b')
    await graph.drained('a', () => other.write(0, new Uint8Array(1)))
    await graph.close()
  })

  it('waits for every node, also when two parts of a change ask for it at once and images take their time', async () => {
    const { fakes, graph, disk } = await setUp()
    const write = fakes.hold('a.write')
    const hook = fakes.hold('f.drain-begin')
    const writing = disk.write(0, new Uint8Array(1))
    await write.arrived
    let second = false
    const section = graph.change(async (change) => {
      const first = change.drain('a')
      await hook.arrived
      const again = change.drain('a').then(() => {
        second = true
      })
      await settle()
      expect(second).toBe(false)
      hook.open()
      await settle()
      expect(second).toBe(false)
      write.open()
      await Promise.all([first, again])
    })
    await Promise.all([section, writing])
    await graph.close()
  })

  it('that could not begin is not taken for one that did', async () => {
    const { fakes, graph, disk } = await setUp()
    const write = fakes.hold('a.write')
    const writing = disk.write(0, new Uint8Array(1))
    await write.arrived
    fakes.fail('f.drain-begin')
    const section = graph.change(async (change) => {
      await expect(change.drain('a')).rejects.toThrow('f.drain-begin fails')
      const again = change.drain('a')
      expect(await isPending(again)).toBe(true)
      write.open()
      await again
    })
    await Promise.all([section, writing])
    await graph.close()
  })

  it('ends for everybody although an image fails to hear of it, with a warning', async () => {
    const { fakes, graph, disk } = await setUp()
    const drainEnd = (): void => {
      throw new Error('no end')
    }
    fakes.extra.set('x', { drainEnd })
    const other = await graph.addUnchecked({ driver: 'filter', nodeName: 'x', file: 'f' })
    let reads: Promise<unknown> | undefined
    await graph.drained('a', async () => {
      reads = Promise.all([other.read(0, new Uint8Array(1)), disk.read(0, new Uint8Array(1))])
    })
    await reads
    expect(fakes.warnings.join()).toContain('no end')
    expect(fakes.log.filter((step) => step.endsWith('drain-end')).sort()).toEqual(['a.drain-end', 'f.drain-end'])
    await graph.close()
  })

  it('that fails to begin lets everybody go on', async () => {
    const { fakes, graph, disk } = await setUp()
    const before = stateOf(graph)
    fakes.fail('a.drain-begin')
    await expect(graph.drained('a', async () => undefined)).rejects.toThrow('a.drain-begin fails')
    expect(stateOf(graph)).toEqual(before)
    await disk.read(0, new Uint8Array(1))
    await graph.close()
  })

  it('tells images above and below, once each', async () => {
    const { fakes, graph } = await setUp()
    await graph.change(async (change) => {
      await change.drain('f')
      await change.drain('f', 'a')
      await change.drain('a')
    })
    const count = (step: string): number => fakes.log.filter((one) => one === step).length
    for (const step of ['f.drain-begin', 'f.drain-end', 'a.drain-begin', 'a.drain-end']) expect(count(step)).toBe(1)
    await graph.close()
  })

  it('holds a root that is attached while it runs', async () => {
    const { fakes, graph } = await setUp()
    const root = new Root(graph.find('f') as Node, { description: 'late', permissions: reader })
    let read: Promise<void> | undefined
    await graph.change(async (change) => {
      await change.drain('a')
      await change.attach(root, reader)
      await change.commit()
      read = root.read(0, new Uint8Array(1))
      expect(await isPending(read)).toBe(true)
      expect(fakes.log).not.toContain('a.read')
    })
    await read
    await graph.close()
  })

  it('holds a root that is moved into it, and lets go of one that is moved out when it ends', async () => {
    const { fakes, graph, disk } = await setUp()
    const other = await graph.attach('b')
    let reads: Promise<unknown>[] = []
    await graph.change(async (change) => {
      await change.drain('a')
      await change.move(other.edge, 'f')
      await change.move(disk.edge, 'b')
      await change.commit()
      reads = [other.read(0, new Uint8Array(1)), disk.read(0, new Uint8Array(1))]
      for (const read of reads) expect(await isPending(read)).toBe(true)
    })
    await Promise.all(reads)
    expect(fakes.log).toContain('a.read')
    expect(fakes.log).toContain('b.read')
    await graph.close()
  })

  it('lets the requests of an admitted root through, and only for as long as it lasts', async () => {
    const { graph } = await setUp()
    const job = await graph.attach('f')
    await graph.change(async (change) => {
      change.admit(job)
      await change.drain('a')
      await job.read(0, new Uint8Array(1))
      await job.whileCounted(() => job.read(0, new Uint8Array(1)))
    })
    await graph.drained('a', async () => {
      expect(await isPending(job.read(0, new Uint8Array(1)))).toBe(true)
    })
    await graph.close()
  })

  it('admits a root whose request waits already', async () => {
    const { graph } = await setUp()
    const job = await graph.attach('f')
    await graph.change(async (change) => {
      await change.drain('a')
      const read = job.read(0, new Uint8Array(1))
      expect(await isPending(read)).toBe(true)
      change.admit(job)
      await read
    })
    await graph.close()
  })

  it('does not wait for what an admitted root has in flight', async () => {
    const { fakes, graph } = await setUp()
    const job = await graph.attach('f')
    const gate = fakes.hold('a.read')
    const read = job.read(0, new Uint8Array(1))
    await gate.arrived
    await graph.change(async (change) => {
      change.admit(job)
      await change.drain('a')
    })
    gate.open()
    await read
    await graph.close()
  })
})

describe('work of a node of its own', () => {
  it('is waited for by a section, and waits while one runs', async () => {
    const { graph } = await setUp()
    const node = graph.find('a') as Node
    let end = (): void => undefined
    const first = node.inBackground(() => new Promise<void>((resolve) => (end = resolve)))
    let second: Promise<string> | undefined
    const section = graph.drained('a', async () => {
      second = node.inBackground(async () => 'second')
      expect(await isPending(second)).toBe(true)
    })
    expect(await isPending(section)).toBe(true)
    end()
    await Promise.all([first, section])
    expect(await second).toBe('second')
    await graph.close()
  })

  it('that waits ends with its signal, and leaves nothing behind when it fails', async () => {
    const { graph } = await setUp()
    const node = graph.find('a') as Node
    const abort = new AbortController()
    await graph.drained('a', async () => {
      const waiting = node.inBackground(async () => undefined, abort.signal)
      abort.abort(new Error('enough'))
      await expect(waiting).rejects.toMatchObject({ code: 'ECANCELED' })
    })
    await expect(node.inBackground(() => Promise.reject(new Error('broken')))).rejects.toThrow('broken')
    await expect(
      node.inBackground(() => {
        throw new Error('at once')
      }),
    ).rejects.toThrow('at once')
    expect(node.activity.count).toBe(0)
    await graph.drained('a', async () => undefined)
    await graph.close()
  })
})

describe('a change that has ended', () => {
  const steps: Readonly<Record<string, (change: Change, root: Root) => Promise<unknown> | unknown>> = {
    drain: (change) => change.drain('a'),
    open: (change) => change.openUnchecked({ driver: 'disk' }),
    pin: (change) => change.pin('a'),
    admit: (change, root) => change.admit(root),
    attach: (change, root) => change.attach(new Root(root.node, { description: '', permissions: reader }), reader),
    detach: (change, root) => change.detach(root),
    setPermissions: (change, root) => change.setPermissions(root.edge, reader),
    move: (change, root) => change.move(root.edge, 'b'),
    replace: (change) => change.replace('a', 'b'),
    insert: (change) => change.insertUnchecked('a', { driver: 'filter' }),
    remove: (change) => change.remove('f'),
    setBacking: (change) => change.setBacking('f', 'b'),
    setChild: (change) => change.setChild('f', 'file', 'b'),
    addChild: (change) => change.addChild('f', 'file', 'b'),
    reopen: (change) => change.reopen('a', { mode: 'x' }),
    alone: (change, root) => change.alone(root, { operation: 'check' }, async () => undefined),
    commit: (change) => change.commit(),
  }

  it.each(Object.entries(steps))('refuses %s, and holds and changes nothing', async (_, step) => {
    const { graph, disk } = await setUp()
    let leaked: Change | undefined
    await graph.change(async (change) => {
      leaked = change
    })
    const before = stateOf(graph)
    await expect((async () => step(leaked as Change, disk))()).rejects.toThrow('has ended')
    await settle()
    expect(stateOf(graph)).toEqual(before)
    await disk.read(0, new Uint8Array(1))
    await graph.close()
  })

  it.each(['move', 'replace', 'setChild', 'reopen', 'detach', 'insert', 'alone'] as const)(
    'is not carried on by a %s that was under way when something beside it failed',
    async (name) => {
      const { fakes, graph, disk } = await setUp()
      const before = stateOf(graph)
      const gate = fakes.hold('a.write')
      const write = disk.write(0, new Uint8Array(1))
      await gate.arrived
      let late: Promise<unknown> = Promise.resolve()
      const change = graph.change(async (change) => {
        late = Promise.resolve(steps[name]?.(change, disk))
        late.catch(() => undefined)
        await settle()
        throw new BlockError('EIO', 'beside it')
      })
      await expect(change).rejects.toThrow('beside it')
      gate.open()
      await write
      await expect(late).rejects.toThrow('has ended')
      await settle()
      expect(stateOf(graph)).toEqual(before)
      await disk.read(0, new Uint8Array(1))
      await graph.close()
    },
  )
})
