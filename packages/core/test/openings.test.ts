import { describe, expect, it } from 'vitest'
import { Passthrough } from '../src/driver.ts'
import type { DriverDescriptor } from '../src/index.ts'
import { FakeDrivers, isPending, settle, stateOf } from './fake-drivers.ts'

/** A format that reads its first block when it is opened, and tells what it was opened with. */
function format(fakes: FakeDrivers, seen: unknown[] = []): DriverDescriptor {
  return {
    name: 'fmt',
    kind: 'format',
    description: 'reads when it is opened',
    options: {
      file: { type: 'child', role: 'storage', required: true, description: 'storage' },
      backing: { type: 'child', role: 'cow', description: 'backing file' },
    },
    probe: (head) => (head[0] === 77 ? 100 : 0),
    open: async ({ children, discard, cache, readOnly, nodeName, reference }) => {
      seen.push({ discard, cache, readOnly })
      const file = children.require('file')
      const head = new Uint8Array(64)
      await file.read(0, head)
      await fakes.step(`${nodeName}.read-head`)
      const name = new TextDecoder().decode(head.subarray(1)).replace(/\0+$/, '')
      if (name !== '') await reference('backing', { filename: name, format: 'raw' })
      return new Passthrough(file)
    },
  }
}

const raw: DriverDescriptor = {
  name: 'raw',
  kind: 'format',
  description: 'raw',
  options: { file: { type: 'child', role: 'data', required: true, description: 'storage' } },
  probe: () => 1,
  open: async ({ children }) => new Passthrough(children.require('file')),
}

function setUp(seen: unknown[] = []) {
  const fakes = new FakeDrivers()
  const graph = fakes.graph([format(fakes, seen), raw], { references: 'allow' })
  return { fakes, graph }
}

/** Puts an image of `fmt` on disk `name`. */
function image(fakes: FakeDrivers, name: string, backing = ''): void {
  const bytes = new Uint8Array(512)
  bytes.set(new TextEncoder().encode(`M${backing}`))
  fakes.content.set(name, bytes)
}

describe('a node that is being opened', () => {
  it('keeps the nodes that it will use, whoever lets go of them', async () => {
    const { fakes, graph } = setUp()
    const disk = await graph.addUnchecked({ driver: 'disk', nodeName: 'a' })
    const gate = fakes.hold('f.open')
    const opening = graph.addUnchecked({ driver: 'filter', nodeName: 'f', file: 'a' })
    await gate.arrived
    await disk.close()
    await expect(graph.remove('a')).rejects.toMatchObject({ code: 'EBUSY' })
    expect(fakes.log).not.toContain('a.close')
    gate.open()
    const filter = await opening
    await filter.read(0, new Uint8Array(1))
    await filter.close()
    expect([...graph.nodes]).toEqual([])
  })

  it('keeps them before it is linked to them, too', async () => {
    const { fakes, graph } = setUp()
    const disk = await graph.addUnchecked({ driver: 'disk', nodeName: 'a' })
    const gate = fakes.hold('d.open')
    const opening = graph.addUnchecked({
      driver: 'many',
      nodeName: 'm',
      children: ['a', { driver: 'disk', nodeName: 'd' }],
    })
    await gate.arrived
    await disk.close()
    await expect(graph.remove('a')).rejects.toThrow('it is being opened')
    gate.open()
    await (await opening).close()
    expect([...graph.nodes]).toEqual([])
  })

  it('that is in use by name the moment it is open cannot be closed by its other user before its own has it', async () => {
    const { graph } = setUp()
    const [first, second] = await Promise.all([
      graph.addUnchecked({ driver: 'disk', nodeName: 'a' }),
      (async () => {
        while (graph.find('a') === undefined) await Promise.resolve()
        const disk = await graph.attach('a')
        await disk.close()
      })(),
    ])
    expect(second).toBeUndefined()
    await first.read(0, new Uint8Array(1))
    await first.close()
  })

  it('is waited for by a section of a node that it reads from, and reads nothing while one runs', async () => {
    const { fakes, graph } = setUp()
    image(fakes, 'a')
    await graph.addNode({ driver: 'disk', nodeName: 'a' })
    const gate = fakes.hold('n.read-head')
    const opening = graph.addUnchecked({ driver: 'fmt', nodeName: 'n', file: 'a' })
    await gate.arrived
    const section = graph.drained('a', async () => undefined)
    expect(await isPending(section)).toBe(true)
    gate.open()
    await section
    await (await opening).close()

    let later: Promise<unknown> | undefined
    fakes.log.length = 0
    await graph.drained('a', async () => {
      later = graph.addUnchecked({ driver: 'fmt', nodeName: 'n', file: 'a' })
      expect(await isPending(later)).toBe(true)
      expect(fakes.log).not.toContain('a.read')
    })
    await later
    await graph.close()
  })

  it('goes on after a reference only when the section that came meanwhile has ended', async () => {
    const { fakes, graph } = setUp()
    image(fakes, 'a', 'disk:base')
    await graph.addNode({ driver: 'disk', nodeName: 'a' })
    const gate = fakes.hold('base.open')
    const opening = graph.addUnchecked({ driver: 'fmt', nodeName: 'n', file: 'a' })
    await gate.arrived
    let held = false
    await graph.drained('a', async () => {
      gate.open()
      await settle()
      held = await isPending(opening)
    })
    expect(held).toBe(true)
    const disk = await opening
    expect(disk.node.backing?.node.children.get('file')?.node.name).toBe('base')
    await graph.close()
    expect([...graph.nodes]).toEqual([])
  })

  it('leaves nothing behind when it fails, at whichever step', async () => {
    const steps = ['a.open', 'a.permissions', 'a.read', 'n.read-head', 'base.open', 'base.permissions']
    for (const step of steps) {
      for (const alsoClosing of [false, true]) {
        const { fakes, graph } = setUp()
        image(fakes, 'a', 'disk:base')
        fakes.fail(step)
        if (alsoClosing) for (const name of ['a', 'base']) fakes.fail(`${name}.close`)
        const opening = graph.addUnchecked({ driver: 'fmt', nodeName: 'n', file: { driver: 'disk', nodeName: 'a' } })
        await expect(opening, step).rejects.toThrow(`${step} fails`)
        expect(
          [...graph.nodes].map(({ name }) => name),
          step,
        ).toEqual([])
        await graph.close()
      }
    }
  })

  it('leaves nothing behind when the second of its children fails, nor when closing the first fails then', async () => {
    for (const step of ['e.open', 'd.permissions', 'e.permissions']) {
      for (const closing of [undefined, 'd.close', 'e.close']) {
        const { fakes, graph } = setUp()
        fakes.fail(step)
        if (closing !== undefined) fakes.fail(closing)
        const children = ['d', 'e'].map((nodeName) => ({ driver: 'disk', nodeName }))
        const opening = graph.addUnchecked({ driver: 'many', nodeName: 'm', children })
        await expect(opening, `${step} ${closing}`).rejects.toThrow(`${step} fails`)
        expect(
          [...graph.nodes].map(({ name }) => name),
          `${step} ${closing}`,
        ).toEqual([])
        await graph.close()
      }
    }
  })

  it('leaves the graph as it was when it may not share a node with those who use it', async () => {
    const { fakes, graph } = setUp()
    await graph.addUnchecked({ driver: 'disk', nodeName: 'a' })
    const before = stateOf(graph)
    await expect(graph.addUnchecked({ driver: 'overlay', file: 'a' })).rejects.toMatchObject({ code: 'EPERM' })
    const two = [{ driver: 'disk', nodeName: 'd' }, 'a']
    await expect(graph.addUnchecked({ driver: 'many', children: two })).rejects.toMatchObject({ code: 'EPERM' })
    expect(stateOf(graph)).toEqual(before)
    expect(fakes.log).toContain('d.close')
    await graph.close()
  })

  it('is aborted by its signal, before and while it opens', async () => {
    const { fakes, graph } = setUp()
    const options = { driver: 'fmt', nodeName: 'n', file: { driver: 'disk', nodeName: 'a' } }
    const aborted = { signal: AbortSignal.abort() }
    await expect(graph.addUnchecked(options, aborted)).rejects.toMatchObject({ code: 'ECANCELED' })
    image(fakes, 'a', 'disk:base')
    const abort = new AbortController()
    const gate = fakes.hold('n.read-head')
    const opening = graph.addUnchecked(options, { signal: abort.signal })
    await gate.arrived
    abort.abort()
    gate.open()
    await expect(opening).rejects.toMatchObject({ code: 'ECANCELED' })
    expect([...graph.nodes]).toEqual([])
  })

  it('has its name for itself, and gives it back when it fails', async () => {
    const { fakes, graph } = setUp()
    const gate = fakes.hold('a.open')
    const first = graph.addUnchecked({ driver: 'disk', nodeName: 'a' })
    await gate.arrived
    const second = graph.addUnchecked({ driver: 'disk', nodeName: 'a' })
    await expect(second).rejects.toThrow("Duplicate nodes with node-name='a'")
    fakes.fail('a.open')
    gate.open()
    await expect(first).rejects.toThrow('a.open fails')
    await (await graph.addUnchecked({ driver: 'disk', nodeName: 'a' })).close()
  })
})

describe('a driver that is found when it is needed', () => {
  it('may be asked for by several at once', async () => {
    const fakes = new FakeDrivers()
    let asked = 0
    const resolveDriver = async (name: string) => {
      asked++
      await settle()
      return name === 'raw' || name === 'rough' ? raw : undefined
    }
    const graph = fakes.graph([], { resolveDriver })
    const open = (driver: string) => graph.addUnchecked({ driver, file: { driver: 'disk' } })
    await Promise.all([open('raw'), open('raw'), open('rough')])
    await Promise.all([open('raw'), open('rough')])
    expect(asked).toBeGreaterThanOrEqual(3)
    await graph.close()
  })
})

describe('a file name without a format', () => {
  it('is probed, and what is said of the format holds for its storage', async () => {
    const seen: unknown[] = []
    const { fakes, graph } = setUp(seen)
    image(fakes, 'a')
    const disk = await graph.open('disk:a', { discard: 'unmap', cache: { noFlush: true, direct: true } })
    const file = disk.node.children.get('file')?.node
    expect(disk.node.driver.name).toBe('fmt')
    expect(seen).toEqual([{ discard: 'unmap', cache: { noFlush: true, direct: true }, readOnly: false }])
    expect([file?.discardMode, file?.cache]).toEqual(['unmap', { noFlush: true, direct: true }])
    await disk.close()

    const plain = await graph.open('disk:a', { readOnly: true })
    expect([plain.readOnly, plain.node.children.get('file')?.node.readOnly]).toEqual([true, true])
    expect(plain.node.discardMode).toBe('ignore')
    await plain.close()
  })

  it('takes options for its storage beside it, which reach the storage', async () => {
    const { fakes, graph } = setUp()
    for (const format of [undefined, 'fmt']) {
      image(fakes, 'a')
      const disk = await graph.open('disk:a', {
        ...(format === undefined ? {} : { format }),
        readOnly: true,
        file: { readOnly: true, mode: 'mine', cache: { noFlush: true } },
      })
      const file = disk.node.children.get('file')?.node
      expect([file?.readOnly, file?.options.mode, file?.cache.noFlush]).toEqual([true, 'mine', true])
      await disk.close()
    }
    await expect(graph.open('disk:a', { file: 'other' })).rejects.toThrow("Parameter 'file'")
    await expect(graph.open('disk:a', { file: { nonsense: 1 } })).rejects.toThrow('nonsense')
    await expect(graph.open('disk:a', { nonsense: 1 })).rejects.toThrow('nonsense')
    expect([...graph.nodes]).toEqual([])
  })

  it('takes options for the backing file that the image names', async () => {
    const { fakes, graph } = setUp()
    image(fakes, 'a', 'disk:base')
    for (const format of [undefined, 'fmt']) {
      const named = format === undefined ? {} : { format }
      const disk = await graph.open('disk:a', { ...named, backing: { nodeName: 'mine', detectZeroes: 'on' } })
      expect([disk.node.backing?.node.name, disk.node.backing?.node.detectZeroes]).toEqual(['mine', 'on'])
      await disk.close()
      const without = await graph.open('disk:a', { ...named, backing: null })
      expect(without.node.backing).toBeUndefined()
      await without.close()
      await expect(graph.open('disk:a', { ...named, backing: { nonsense: 1 } })).rejects.toThrow('nonsense')
    }
    expect([...graph.nodes]).toEqual([])
  })

  it('that is taken for raw is guarded, also against two writes of half a signature at once', async () => {
    const two: DriverDescriptor = { ...raw, name: 'two', probe: (head) => (head[0] === 1 && head[300] === 1 ? 100 : 0) }
    const fakes = new FakeDrivers()
    const graph = fakes.graph([raw, two])
    const disk = await graph.open('disk:a')
    const gate = fakes.hold('a.write')
    const halves = [disk.write(0, new Uint8Array([1])), disk.write(300, new Uint8Array([1]))]
    await gate.arrived
    await settle()
    gate.open()
    const [first, second] = await Promise.allSettled(halves)
    expect(first?.status).toBe('fulfilled')
    expect(second).toMatchObject({ status: 'rejected', reason: { code: 'EPERM', node: disk.nodeName } })
    expect(fakes.bytes('a')[300]).toBe(0)
    await disk.write(512, new Uint8Array([1]))
    await disk.close()
    const given = await graph.open('disk:a', { format: 'raw' })
    await given.write(300, new Uint8Array([1]))
    await given.close()
  })
})
