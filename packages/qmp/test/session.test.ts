/** Sessions: what is not a matter of recorded answers. */
import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { createMonitor, type Monitor, System } from '@diskgraph/qmp'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LocalClient } from './local-client.ts'

let graph: Graph
let monitor: Monitor

beforeEach(() => {
  graph = new Graph({ drivers: [memory] })
  monitor = createMonitor(new System({ graph }))
})

afterEach(async () => {
  monitor.close()
  await graph.close()
})

const negotiate = '{"execute": "qmp_capabilities"}'

describe('a session with a client on the network', () => {
  const request = 'POST / HTTP/1.1\r\n\r\n{"execute": "qmp_capabilities"}{"execute": "query-version"}'

  it.each([request, ' \r\nGET / HTTP/1.1', "'", '[', '\0{'])('ends without an answer after %j', async (text) => {
    const client = new LocalClient(monitor, { network: true })
    expect(await client.exchange(text)).toEqual([])
    expect(client.closed).toBe(true)
    expect(await client.exchange(negotiate)).toEqual([])
  })

  it('goes on after white space and a brace', async () => {
    const client = new LocalClient(monitor, { network: true })
    expect(await client.exchange(' \r\n\t')).toEqual([])
    expect(await client.exchange(negotiate)).toEqual([{ return: {} }])
  })
})

describe('a session', () => {
  it('takes bytes cut anywhere', async () => {
    const client = new LocalClient(monitor)
    const bytes = Buffer.from(`${negotiate}{'execute': 'query-name', 'id': [1.5e1, "é\\u00e9", null, -12]} nope x`)
    const answers: unknown[] = []
    for (const byte of bytes) answers.push(...(await client.exchange(new Uint8Array([byte]))))
    expect(answers).toEqual([
      { return: {} },
      { return: {}, id: [15, 'éé', null, -12] },
      { error: { class: 'GenericError', desc: "JSON parse error, invalid keyword 'nope'" } },
    ])
  })

  it('refuses what nests deeper than 1024, and goes on', async () => {
    const client = new LocalClient(monitor)
    const nested = (depth: number) => `{"execute": "qmp_capabilities", "id": ${'['.repeat(depth)}${']'.repeat(depth)}}`
    const [failure] = await client.exchange(`${nested(1024)}\n`)
    expect(failure).toEqual({ error: { class: 'GenericError', desc: 'JSON nesting depth limit exceeded' } })
    await client.exchange('\n')
    expect(await client.exchange(nested(1023))).toMatchObject([{ return: {} }])
  })

  it('takes 1 MiB before negotiation, and 64 MiB after it', async () => {
    const client = new LocalClient(monitor)
    const long = (length: number) => `{"execute": "query-name", "id": "${'x'.repeat(length)}"}\n`
    const tooLong = { error: { class: 'GenericError', desc: 'JSON token size limit exceeded' } }
    expect(await client.exchange(long(2 ** 20))).toContainEqual(tooLong)
    expect(await client.exchange(negotiate)).toContainEqual({ return: {} })
    expect(await client.exchange(long(2 ** 20))).toMatchObject([{ return: {} }])
    expect(await client.exchange(long(2 ** 26))).toContainEqual(tooLong)
    expect(await client.exchange('\n{"execute": "query-name"}')).toContainEqual({ return: {} })
  })

  it('refuses more than 2,097,152 tokens', async () => {
    const client = new LocalClient(monitor)
    await client.exchange(negotiate)
    const many = `[${'1,'.repeat(2 ** 20)}1]\n`
    expect(await client.exchange(many)).toContainEqual({
      error: { class: 'GenericError', desc: 'JSON token count limit exceeded' },
    })
  })

  it('tells no events before negotiation', async () => {
    const client = new LocalClient(monitor)
    graph.emit({ event: 'STOP', data: {} })
    expect(client.received).toEqual([])
    await client.exchange(negotiate)
    graph.emit({ event: 'STOP', data: {} })
    expect(client.received).toMatchObject([{ event: 'STOP', timestamp: {} }])
    expect(client.received[0]).not.toHaveProperty('data')
  })

  it('names events and their fields as QAPI does, and leaves out what QAPI does not know', async () => {
    const client = new LocalClient(monitor)
    await client.exchange(negotiate)
    const data = { msg: 'bad', fatal: true, offset: 512, own: 1 }
    graph.emit({ event: 'BLOCK_IMAGE_CORRUPTED', nodeName: 'disk', data })
    const told = { device: '', 'node-name': 'disk', msg: 'bad', fatal: true, offset: 512 }
    expect(client.received).toMatchObject([{ event: 'BLOCK_IMAGE_CORRUPTED' }])
    expect((client.received[0] as { data: unknown }).data).toEqual(told)
  })

  it('tells at most one failing vote per second and node, the last one late', async () => {
    const timers: (() => void)[] = []
    const timeout = (_: number, later: () => void): (() => void) => {
      timers.push(later)
      return () => timers.splice(timers.indexOf(later), 1)
    }
    await using slow = new Graph({ drivers: [memory], clock: { ...graph.clock, timeout } })
    const own = createMonitor(new System({ graph: slow }))
    const client = new LocalClient(own)
    await client.exchange(negotiate)
    const report = (node: string, sectorNum: number): void => {
      const data = { type: 'read', nodeName: node, sectorNum, sectorsCount: 1 }
      slow.emit({ event: 'QUORUM_REPORT_BAD', nodeName: node, data })
    }
    const told = (): unknown[] => client.received.splice(0).map((one) => (one as { data: object }).data)
    for (const sector of [1, 2, 3]) report('a', sector)
    report('b', 4)
    expect(told()).toMatchObject([{ 'sector-num': 1 }, { 'sector-num': 4 }])
    for (const later of timers.splice(0)) later()
    expect(told()).toMatchObject([{ 'node-name': 'a', 'sector-num': 3 }])
    report('a', 5)
    report('b', 6)
    expect(told()).toMatchObject([{ 'sector-num': 6 }])
    own.close()
    expect(timers).toEqual([])
  })

  it('answers in the order of the requests', async () => {
    const client = new LocalClient(monitor)
    const lines = [negotiate, '{"execute": "query-block-exports", "id": 1}', 'x', '{"execute": "query-name", "id": 2}']
    const answers = (await client.exchange(lines.join('\n'))) as { id?: number }[]
    expect(answers.map(({ id }) => id)).toEqual([undefined, 1, undefined, 2])
  })

  it('runs what comes out of band only if that was asked for', async () => {
    const client = new LocalClient(monitor)
    await client.exchange(negotiate)
    expect(await client.execute('query-name')).toEqual({})
    const [answer] = await client.exchange('{"exec-oob": "query-name"}')
    expect(answer).toMatchObject({ error: { desc: "QMP input member 'exec-oob' is unexpected" } })
  })
})

describe('block-set-write-threshold', () => {
  it('tells once of a write beyond it', async () => {
    const client = new LocalClient(monitor)
    await client.exchange(negotiate)
    await client.execute('blockdev-add', { driver: 'memory', 'node-name': 'disk', size: 65536 })
    await client.execute('block-set-write-threshold', { 'node-name': 'disk', 'write-threshold': 4096 })
    const disk = await graph.attach('disk')
    await disk.write(0, new Uint8Array(4096))
    expect(client.received).toEqual([])
    await disk.write(2048, new Uint8Array(4096))
    await disk.write(8192, new Uint8Array(4096))
    const data = { 'node-name': 'disk', 'amount-exceeded': 2048, 'write-threshold': 4096 }
    expect(client.received).toMatchObject([{ event: 'BLOCK_WRITE_THRESHOLD', data }])
    expect(await client.execute('query-named-block-nodes')).toMatchObject([{ write_threshold: 0 }])
    await disk.close()
  })
})
