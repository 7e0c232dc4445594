import { Graph } from '@diskgraph/core'
import { type HttpOptions, http } from '@diskgraph/driver-http'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { patternOf, TestServer } from './server.ts'

let server: TestServer
let graph: Graph

async function openOn(options: Partial<HttpOptions> = {}, settings: Parameters<typeof TestServer.start>[0] = {}) {
  server = await TestServer.start(settings)
  graph = new Graph({ drivers: [http], onWarning: (text) => warnings.push(text) })
  const disk = await graph.add({ driver: 'http', url: server.url, ...options })
  return disk
}

let warnings: string[] = []

afterEach(async () => {
  warnings = []
  await graph.close()
  await server.close()
})

async function bytesOf(disk: { read(offset: number, buf: Uint8Array): Promise<void> }, offset: number, length: number) {
  const buf = new Uint8Array(length)
  await disk.read(offset, buf)
  return buf
}

describe('http', () => {
  it('does what the README shows', async () => {
    mustShowExample(import.meta.url)
    await openOn()
    const { url } = server
    // url is, say, 'http://images.example.org/disk.img'
    await using graph = new Graph({ drivers: [http], secrets: { token: 'a password from elsewhere' } })
    const disk = await graph.add({ driver: 'http', url, username: 'reader', passwordSecret: 'token' })
    await disk.read(4096, new Uint8Array(4096))
    expect(server.seen.at(-1)?.headers.authorization).toMatch(/^Basic /)
  })

  it('takes the size from Content-Range and the bytes from ranges', async () => {
    const disk = await openOn()
    expect(disk.size).toBe(1_000_000)
    expect(disk.readOnly).toBe(true)
    expect(await bytesOf(disk, 700_001, 5000)).toEqual(server.content.subarray(700_001, 705_001))
    expect(server.seen.every(({ range }) => range !== undefined)).toBe(true)
  })

  it('sends If-Range with a strong ETag on every request after the first', async () => {
    const disk = await openOn()
    await bytesOf(disk, 600_000, 10)
    expect(server.seen.map(({ headers }) => headers['if-range'])).toEqual([undefined, '"one"'])
  })

  it('does not send a weak ETag or a fresh date as If-Range, and compares them all the same', async () => {
    server = await TestServer.start()
    server.etag = 'W/"one"'
    server.lastModified = new Date().toUTCString()
    graph = new Graph({ drivers: [http] })
    const disk = await graph.add({ driver: 'http', url: server.url })
    await bytesOf(disk, 600_000, 10)
    expect(server.seen.map(({ headers }) => headers['if-range'])).toEqual([undefined, undefined])
    server.etag = 'W/"two"'
    await expect(bytesOf(disk, 900_000, 10)).rejects.toMatchObject({ code: 'ESTALE' })
  })

  it('sends an old date of change as If-Range when there is no ETag', async () => {
    server = await TestServer.start()
    server.etag = undefined
    server.lastModified = new Date(0).toUTCString()
    graph = new Graph({ drivers: [http] })
    const disk = await graph.add({ driver: 'http', url: server.url })
    await bytesOf(disk, 600_000, 10)
    expect(server.seen[1]?.headers['if-range']).toBe(server.lastModified)
  })

  it('warns when the server tells no version', async () => {
    server = await TestServer.start()
    server.etag = undefined
    graph = new Graph({ drivers: [http], onWarning: (text) => warnings.push(text) })
    await graph.add({ driver: 'http', url: server.url })
    expect(warnings).toHaveLength(1)
    expect(warnings[0]).toContain('neither ETag nor Last-Modified')
  })

  it('opens an empty file', async () => {
    const disk = await openOn({}, { content: new Uint8Array(0) })
    expect(disk.size).toBe(0)
    await disk.read(0, new Uint8Array(0))
  })

  it('opens a file of one byte', async () => {
    const disk = await openOn({}, { content: new Uint8Array([42]) })
    expect(disk.size).toBe(1)
    expect([...(await bytesOf(disk, 0, 1))]).toEqual([42])
  })

  it('keeps connections for requests that follow each other', async () => {
    const disk = await openOn({ readahead: 0 })
    for (let i = 0; i < 20; i++) await bytesOf(disk, 100_000 + i * 40_000, 100)
    // A second one opens when a request starts before the end of the answer before has been seen.
    expect(server.connections).toBeLessThanOrEqual(2)
    expect(server.seen).toHaveLength(21)
  })

  it('has no more transfers under way than connections allow', async () => {
    const disk = await openOn({ readahead: 0, connections: 3 })
    server.delay = 20
    const reads = Array.from({ length: 30 }, (_, i) => bytesOf(disk, 100_000 + i * 1000, 500))
    const all = await Promise.all(reads)
    for (const [i, buf] of all.entries()) {
      expect(buf).toEqual(server.content.subarray(100_000 + i * 1000, 100_500 + i * 1000))
    }
    expect(server.mostInFlight).toBe(3)
    expect(server.connections).toBe(3)
  })

  it('serves reads of one block at the same time by one transfer', async () => {
    const disk = await openOn()
    server.delay = 20
    const before = server.seen.length
    const reads = Array.from({ length: 10 }, (_, i) => bytesOf(disk, 500_000 + i * 100, 100))
    await Promise.all(reads)
    expect(server.seen.length - before).toBe(1)
  })

  it('answers reads that follow each other from what was read ahead', async () => {
    const disk = await openOn()
    for (let at = 0; at < 1_000_000; at += 10_000) {
      expect(Buffer.compare(await bytesOf(disk, at, 10_000), server.content.subarray(at, at + 10_000))).toBe(0)
    }
    expect(server.seen.length).toBeLessThan(9)
  })

  it('starts the next transfer before the last one is used up', async () => {
    const disk = await openOn({ readahead: 65536 })
    await bytesOf(disk, 0, 32_768)
    await bytesOf(disk, 32_768, 32_768)
    await expect.poll(() => server.seen.at(-1)?.range).toBe('bytes=65536-131071')
  })

  it('asks for no byte twice when ranges overlap', async () => {
    const disk = await openOn({ readahead: 512 })
    await Promise.all([bytesOf(disk, 500_000, 10_000), bytesOf(disk, 505_000, 10_000), bytesOf(disk, 498_000, 20_000)])
    let total = 0
    for (const { range } of server.seen.slice(1)) {
      const [, start, last] = /(\d+)-(\d+)/.exec(range ?? '') ?? []
      total += Number(last) + 1 - Number(start)
    }
    expect(total).toBe(20_000)
  })

  it('gives the first bytes of a transfer before its last', async () => {
    let finish: (() => void) | undefined
    const disk = await openOn({ timeout: 0 })
    server.behaviour = (_request, response) => {
      const part = server.content.subarray(300_000, 300_000 + 262_144)
      response.writeHead(206, {
        etag: '"one"',
        'content-range': `bytes 300000-${300_000 + 262_143}/1000000`,
        'content-length': part.length,
      })
      response.write(part.subarray(0, 1000))
      finish = () => response.end(part.subarray(1000))
    }
    expect(await bytesOf(disk, 300_000, 1000)).toEqual(server.content.subarray(300_000, 301_000))
    finish?.()
    expect(await bytesOf(disk, 400_000, 1000)).toEqual(server.content.subarray(400_000, 401_000))
  })

  it('reads a large range in one request of the caller, in several of its own', async () => {
    const content = patternOf(5_000_000)
    const disk = await openOn({}, { content })
    expect(Buffer.compare(await bytesOf(disk, 0, 5_000_000), content)).toBe(0)
    expect(server.mostInFlight).toBeLessThanOrEqual(6)
  })

  it('ends a transfer that nobody waits for any more, and lets the others go on', async () => {
    const disk = await openOn({ readahead: 0 })
    const ended: string[] = []
    server.behaviour = (request, response) => {
      response.on('close', () => ended.push(request.headers.range ?? ''))
    }
    const controller = new AbortController()
    const reading = disk.read(500_000, new Uint8Array(100), 0, controller.signal)
    await expect.poll(() => server.seen.length).toBe(2)
    controller.abort()
    await expect(reading).rejects.toMatchObject({ code: 'ECANCELED' })
    await expect.poll(() => ended).toEqual(['bytes=500000-500099'])
    server.behaviour = undefined
    expect(await bytesOf(disk, 500_000, 100)).toEqual(server.content.subarray(500_000, 500_100))
  })

  it('goes on for one reader when another of the same transfer leaves', async () => {
    const disk = await openOn()
    server.delay = 50
    const controller = new AbortController()
    const leaving = disk.read(500_000, new Uint8Array(100), 0, controller.signal)
    const staying = bytesOf(disk, 500_050, 100)
    controller.abort()
    await expect(leaving).rejects.toMatchObject({ code: 'ECANCELED' })
    expect(await staying).toEqual(server.content.subarray(500_050, 500_150))
    expect(server.seen).toHaveLength(2)
  })

  it('gives up opening when its signal is aborted', async () => {
    server = await TestServer.start({ behaviour: () => undefined })
    graph = new Graph({ drivers: [http] })
    const controller = new AbortController()
    const opening = graph.add({ driver: 'http', url: server.url }, { signal: controller.signal })
    await expect.poll(() => server.seen.length).toBe(1)
    controller.abort()
    await expect(opening).rejects.toMatchObject({ code: 'ECANCELED' })
  })

  it('has one identity for all spellings of a URL', async () => {
    const disk = await openOn()
    const port = server.port
    const other = await graph.add({ driver: 'http', url: `http://user:pw@127.0.0.1:${port}/a/../disk.img#x` })
    expect(other.node.image.identity).toBe(disk.node.image.identity)
  })

  it('opens by file name and tells it', async () => {
    await openOn()
    const disk = await graph.open(server.url, { format: 'http' })
    expect(disk.filename).toBe(server.url)
  })

  it('sees a new version after invalidateCache', async () => {
    const disk = await openOn()
    server.content = patternOf(500_000).reverse()
    server.etag = '"two"'
    await expect(bytesOf(disk, 400_000, 10)).rejects.toMatchObject({ code: 'ESTALE' })
    await disk.node.image.invalidateCache?.()
    expect(disk.size).toBe(500_000)
    expect(await bytesOf(disk, 400_000, 10)).toEqual(server.content.subarray(400_000, 400_010))
  })
})
