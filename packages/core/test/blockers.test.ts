import { describe, expect, it } from 'vitest'
import { refuseBlocked } from '../src/graph/blockers.ts'
import { type BlockedOperation, Graph } from '../src/index.ts'
import { FakeDrivers, isPending, settle } from './fake-drivers.ts'

async function setUp() {
  const fakes = new FakeDrivers()
  const graph = fakes.graph()
  const disk = await graph.addUnchecked({
    driver: 'filter',
    nodeName: 'top',
    file: {
      driver: 'overlay',
      nodeName: 'mid',
      file: { driver: 'disk' },
      backing: { driver: 'disk', nodeName: 'base' },
    },
  })
  return { fakes, graph, disk }
}

describe('a blocker', () => {
  const operations: readonly BlockedOperation[] = ['amend', 'attach', 'check', 'reopen', 'resize', 'snapshot']

  it('keeps off what it names, or everything, with its reason, until it is released', async () => {
    const { graph, disk } = await setUp()
    const { node } = disk
    for (const operation of operations) refuseBlocked(node, operation)
    const some = graph.block('top', { reason: 'some', operations: ['check', 'resize'] })
    for (const operation of operations) {
      const attempt = () => refuseBlocked(node, operation)
      if (operation === 'check' || operation === 'resize') {
        expect(attempt).toThrow(
          expect.objectContaining({ code: 'EBUSY', node: 'top', message: "Node 'top' is busy: some" }),
        )
      } else attempt()
    }
    const reason = { reason: 'all' }
    const [all, again] = [graph.block('top', reason), graph.block('top', reason)]
    all()
    all()
    for (const operation of operations) expect(() => refuseBlocked(node, operation)).toThrow('is busy')
    again()
    some()
    for (const operation of operations) refuseBlocked(node, operation)
    await graph.close()
  })
})

describe('a frozen chain', () => {
  it('lets no link from its top to its base change, through filters and backing files, until it is thawed', async () => {
    const { graph } = await setUp()
    await graph.addNode({ driver: 'disk', nodeName: 'other' })
    const first = graph.freezeChain('top', 'mid', 'first')
    expect(() => graph.freezeChain('top', 'base', 'second')).toThrow(
      expect.objectContaining({
        code: 'EPERM',
        node: 'mid',
        message: "Cannot change frozen 'file' link from 'top' to 'mid': first",
      }),
    )
    await graph.setChild('mid', 'backing', 'other')
    await graph.setChild('mid', 'backing', 'other')
    first()
    const both = graph.freezeChain('top', 'other', 'both')
    await expect(graph.setChild('mid', 'backing', undefined)).rejects.toMatchObject({ code: 'EPERM' })
    await expect(graph.insertFilterUnchecked('mid', { driver: 'filter' })).rejects.toMatchObject({ code: 'EPERM' })
    both()
    await graph.setChild('mid', 'backing', undefined)
    const none = graph.freezeChain('mid', 'mid', 'nothing')
    none()
    await graph.close()
  })

  it('is refused between nodes of which one is not below the other, and freezes nothing', async () => {
    const { graph } = await setUp()
    expect(() => graph.freezeChain('base', 'top', 'x')).toThrow(
      expect.objectContaining({ code: 'EINVAL', message: "node 'top' is not below node 'base'" }),
    )
    expect(() => graph.freezeChain('top', 'none', 'x')).toThrow('none')
    graph.freezeChain('top', 'base', 'y')()
    await graph.close()
  })
})

describe('the order of changes', () => {
  it('is that in which they came, one at a time, and one that fails does not hold up the next', async () => {
    const { graph } = await setUp()
    const log: string[] = []
    const change = (name: string, fails = false) =>
      graph.change(async () => {
        log.push(`${name} begins`)
        await settle()
        log.push(`${name} ends`)
        if (fails) throw new Error(name)
      })
    const results = await Promise.allSettled([change('a'), change('b', true), change('c')])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(log).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
    await graph.close()
  })

  it('is kept when one that waits is aborted, and one that runs is not cut short', async () => {
    const { graph, disk } = await setUp()
    const log: string[] = []
    let end = (): void => undefined
    const running = new AbortController()
    const first = graph.change(() => new Promise<void>((resolve) => (end = resolve)), { signal: running.signal })
    await settle()
    const waiting = new AbortController()
    const second = graph.change(async () => log.push('second'), { signal: waiting.signal })
    const third = graph.change(async () => log.push('third'))
    const aborted = graph.change(async () => log.push('aborted'), { signal: AbortSignal.abort() })
    const truncate = disk.truncate(0, {}, waiting.signal)
    const attach = graph.attach('top', { signal: waiting.signal })
    const check = disk.check({ repair: 'none', signal: waiting.signal })
    const amend = disk.amend({ options: {}, signal: waiting.signal })
    waiting.abort(new Error('enough'))
    running.abort()
    for (const one of [second, truncate, attach, check, amend]) {
      await expect(one).rejects.toMatchObject({ code: 'ECANCELED', cause: { message: 'enough' } })
    }
    await expect(aborted).rejects.toMatchObject({ code: 'ECANCELED' })
    expect(await isPending(Promise.race([first, third]))).toBe(true)
    expect(log).toEqual([])
    end()
    await Promise.all([first, third])
    expect(log).toEqual(['third'])
    await graph.close()
  })

  it('a signal that is aborted later has nothing left to do', async () => {
    const { graph } = await setUp()
    const abort = new AbortController()
    expect(await graph.change(async () => 5, { signal: abort.signal })).toBe(5)
    abort.abort()
    await graph.change(async () => undefined)
    await graph.close()
  })
})

describe('what a graph tells', () => {
  it('events reach every listener, until it ends, and one that throws is a warning', async () => {
    const warnings: string[] = []
    const graph = new Graph({ drivers: [], onWarning: (message) => warnings.push(message) })
    const heard: unknown[] = []
    graph.onEvent(() => {
      throw new Error('deaf')
    })
    graph.onChange(() => {
      throw new Error('deaf')
    })
    const end = graph.onEvent((event) => heard.push(event))
    const event = { event: 'BLOCK_IMAGE_CORRUPTED', nodeName: 'a', data: {} }
    graph.emit(event)
    end()
    graph.emit(event)
    graph.tellChange({ kind: 'node-added', node: 'x' })
    expect(heard).toEqual([event])
    expect(warnings).toEqual([
      'a listener of BLOCK_IMAGE_CORRUPTED failed: deaf',
      'a listener of node-added failed: deaf',
    ])
  })

  it('drivers raise events of their own node, warn, and find objects and secrets by type and id', async () => {
    const fakes = new FakeDrivers()
    const seen: unknown[] = []
    const talker = {
      ...fakes.disk,
      name: 'talker',
      open: async (context: Parameters<typeof fakes.disk.open>[0]) => {
        context.emit('HELLO', { a: 1 })
        context.warn('careful')
        context.warn('careful')
        seen.push(context.object('throttle-group', 'g'), new TextDecoder().decode(context.secret('s')))
        expect(() => context.object('tls-creds', 'g')).toThrow("No tls-creds with id 'g'")
        expect(() => context.secret('none')).toThrow("No secret with id 'none'")
        return fakes.disk.open(context)
      },
    }
    const graph = fakes.graph([talker], { secrets: { s: 'word' } })
    graph.objects.add('throttle-group', 'g', 'old')
    graph.objects.add('throttle-group', 'g', 'group')
    expect(() => graph.objects.add('tls-creds', 'g', 1)).toThrow("attempt to add duplicate property 'g'")
    const heard: unknown[] = []
    graph.onEvent((event) => heard.push(event))
    await graph.addNode({ driver: 'talker', nodeName: 'n' })
    expect([seen, heard, fakes.warnings]).toEqual([
      ['group', 'word'],
      [{ event: 'HELLO', nodeName: 'n', data: { a: 1 } }],
      ['careful'],
    ])
    graph.objects.delete('g')
    expect(() => graph.objects.get('throttle-group', 'g')).toThrow("No throttle-group with id 'g'")
    await graph.close()
  })
})
