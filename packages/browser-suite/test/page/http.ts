import { Graph } from '@diskgraph/core'
import { type HttpOptions, http, https } from '@diskgraph/driver-http'
import { afterEach, describe, expect, it } from 'vitest'
import { diskUrl, patternOf, patternSize } from './disks.ts'

const graph = new Graph({ drivers: [http, https], secrets: { pw: 'open' }, onWarning: () => undefined })
const pattern = patternOf(patternSize)

afterEach(() => graph.close())

function open(query = '', options: Partial<HttpOptions> = {}, name = 'pattern') {
  return graph.add({ driver: 'http', url: diskUrl(name, query), ...options })
}

/** The server under another origin: another name of the same address. */
function elsewhere(query: string): string {
  return diskUrl('pattern', query).replace('127.0.0.1', 'localhost')
}

async function bytesAt(disk: { read(offset: number, buf: Uint8Array): Promise<void> }, offset: number) {
  const buf = new Uint8Array(1000)
  await disk.read(offset, buf)
  return buf
}

describe('http in a browser', () => {
  it('reads by ranges', async () => {
    const disk = await open()
    expect(disk.size).toBe(patternSize)
    expect(await bytesAt(disk, 700_001)).toEqual(pattern.subarray(700_001, 701_001))
  })

  it('says ESTALE when the file has changed', async () => {
    const disk = await open('', {}, 'changing')
    await fetch(diskUrl('changing'), { method: 'PUT' })
    await expect(bytesAt(disk, 700_000)).rejects.toMatchObject({ code: 'ESTALE' })
  })

  it('refuses a server without ranges', async () => {
    await expect(open('?whole')).rejects.toThrow("Server does not support 'range' (byte ranges).")
  })

  it('says ENOENT for a file that is not there', async () => {
    await expect(open('', {}, 'missing')).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('gives up after the timeout', async () => {
    const start = performance.now()
    await expect(open('?delay=20000', { timeout: 1 })).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    expect(performance.now() - start).toBeLessThan(2000)
  })

  it('gives up a read whose signal is aborted', async () => {
    const disk = await open('?delay=300')
    const controller = new AbortController()
    const reading = disk.read(700_000, new Uint8Array(10), 0, controller.signal)
    controller.abort()
    await expect(reading).rejects.toMatchObject({ code: 'ECANCELED' })
  })

  it('tries again when a connection breaks', async () => {
    // The browser itself repeats a request once or twice on a connection that was open before.
    const disk = await open(`?failures=2&once=${Math.random()}`)
    expect(disk.size).toBe(patternSize)
  })

  it('sends a user name and password', async () => {
    const query = `?authorization=${encodeURIComponent(`Basic ${btoa('me:open')}`)}`
    const disk = await open(query, { username: 'me', passwordSecret: 'pw' })
    expect(disk.size).toBe(patternSize)
    await expect(open(query)).rejects.toMatchObject({ code: 'EACCES' })
  })

  it('reads from another origin that allows it', async () => {
    const disk = await graph.add({ driver: 'http', url: elsewhere('?cors') })
    expect(await bytesAt(disk, 700_001)).toEqual(pattern.subarray(700_001, 701_001))
  })

  it('says that it cannot fetch from an origin that does not allow it', async () => {
    const failure = graph.add({ driver: 'http', url: elsewhere(''), retries: 0 })
    await expect(failure).rejects.toMatchObject({ code: 'EIO', hint: expect.stringContaining('CORS') })
  })

  it('says what an origin must allow that hides which part it sends', async () => {
    const failure = graph.add({ driver: 'http', url: elsewhere('?cors&hidden'), retries: 0 })
    await expect(failure).rejects.toMatchObject({ code: 'EIO', hint: expect.stringContaining('content-range') })
  })

  it('answers Digest authentication of another origin by SHA-256, and has no MD5', async () => {
    const options = { driver: 'http', username: 'me', passwordSecret: 'pw', authentication: 'digest' } as const
    const disk = await graph.add({ ...options, url: elsewhere('?cors&digest=SHA-256') })
    expect(disk.size).toBe(patternSize)
    const failure = graph.add({ ...options, url: elsewhere('?cors&digest=MD5') })
    await expect(failure).rejects.toMatchObject({ code: 'ENOTSUP' })
  })

  it('follows redirects as the rule says', async () => {
    const there = `?redirect=${encodeURIComponent('/disk/pattern')}`
    expect((await open(there)).size).toBe(patternSize)
    await expect(open(there, { redirect: 'none', retries: 0 })).rejects.toMatchObject({ code: 'EIO' })
    const away = `?redirect=${encodeURIComponent(elsewhere('?cors'))}`
    expect((await open(away)).size).toBe(patternSize)
    await expect(open(away, { redirect: 'same-origin' })).rejects.toMatchObject({ code: 'EACCES' })
  })

  it('refuses what only Node can do', async () => {
    const url = 'https://127.0.0.1/x'
    await expect(open('', { cookie: 'a=b' })).rejects.toMatchObject({ code: 'ENOTSUP' })
    await expect(graph.add({ driver: 'https', url, sslverify: false })).rejects.toMatchObject({ code: 'ENOTSUP' })
    await expect(open('', { proxy: 'http://127.0.0.1:1' })).rejects.toMatchObject({ code: 'ENOTSUP' })
    await expect(graph.add({ driver: 'https', url, ca: 'x.pem' })).rejects.toMatchObject({ code: 'ENOTSUP' })
  })
})
