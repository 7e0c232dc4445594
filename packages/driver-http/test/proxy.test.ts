/** Requests through a proxy: of http by whole URLs, of https by CONNECT. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import { Graph } from '@diskgraph/core'
import { http as httpDriver, https } from '@diskgraph/driver-http'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { TestServer } from './server.ts'

const canary = 'canary-2b81'
const fixture = (name: string): string => fileURLToPath(new URL(`./fixtures/${name}.pem`, import.meta.url))
const tls = { cert: readFileSync(fixture('good')), key: readFileSync(fixture('server-key')) }
const names = [
  'http_proxy',
  'https_proxy',
  'HTTPS_PROXY',
  'all_proxy',
  'ALL_PROXY',
  'no_proxy',
  'NO_PROXY',
  'HTTP_PROXY',
]

let graph: Graph
let server: TestServer
let proxy: http.Server
/** What the proxy was asked for. */
let seen: { target: string; authorization: string | undefined; server: string | undefined }[]
/** Its answer in place of doing what it is asked to. */
let answer: number | 'silence' | undefined
const sockets = new Set<Socket>()

beforeEach(async () => {
  for (const name of names) delete process.env[name]
  seen = []
  answer = undefined
  graph = new Graph({ drivers: [httpDriver, https], secrets: { pw: canary } })
  proxy = http.createServer((request, response) => {
    const { authorization } = request.headers
    seen.push({
      target: request.url ?? '',
      authorization: request.headers['proxy-authorization'],
      server: authorization,
    })
    if (answer === 'silence') return
    if (answer !== undefined) return void response.writeHead(answer, { 'content-length': 0 }).end()
    const { 'proxy-authorization': _, ...headers } = request.headers
    const onward = http.get(request.url ?? '', { headers }, (from) => {
      response.writeHead(from.statusCode ?? 0, from.headers)
      from.pipe(response)
    })
    onward.on('error', () => response.destroy())
  })
  proxy.on('connection', (socket) => sockets.add(socket))
  proxy.on('connect', (request, socket, head) => {
    seen.push({ target: request.url ?? '', authorization: request.headers['proxy-authorization'], server: undefined })
    if (answer === 'silence') return
    if (answer !== undefined) return void socket.end(`HTTP/1.1 ${answer} no\r\n\r\n`)
    const [host, port] = (request.url ?? '').split(':')
    const onward = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 ok\r\n\r\n')
      onward.write(head)
      onward.pipe(socket).pipe(onward)
    })
    sockets.add(onward)
    for (const one of [onward, socket]) one.on('error', () => onward.destroy())
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
})

afterEach(async () => {
  for (const name of names) delete process.env[name]
  await graph.close()
  await server?.close()
  for (const socket of sockets) socket.destroy()
  sockets.clear()
  proxy.close()
  await once(proxy, 'close')
})

const proxyUrl = (): string => `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`

async function expectBytes(definition: object): Promise<void> {
  const disk = await graph.addUnchecked(definition as { driver: string })
  const buf = new Uint8Array(1000)
  await disk.read(600_000, buf)
  expect(buf).toEqual(server.content.subarray(600_000, 601_000))
}

describe('a proxy', () => {
  it('of an option is asked for whole URLs of http', async () => {
    server = await TestServer.start()
    await expectBytes({ driver: 'http', url: server.url, proxy: proxyUrl() })
    expect(seen.map(({ target }) => target)).toEqual([server.url, server.url])
    expect(server.seen[0]?.headers.host).toBe(`127.0.0.1:${server.port}`)
  })

  it('connects to servers of https, whose certificates are verified all the same', async () => {
    server = await TestServer.start({ tls })
    const url = server.url.replace('127.0.0.1', 'localhost')
    await expectBytes({ driver: 'https', url, proxy: proxyUrl(), ca: fixture('authority') })
    expect(seen).toEqual([{ target: `localhost:${server.port}`, authorization: undefined, server: undefined }])
    const failing = graph.add({ driver: 'https', url, proxy: proxyUrl(), retries: 0 })
    await expect(failing).rejects.toMatchObject({ code: 'EACCES', message: expect.stringContaining('certificate') })
  })

  it('is told who asks, and the server is not', async () => {
    server = await TestServer.start({ tls })
    const definition = { proxy: proxyUrl(), proxyUsername: 'me', proxyPasswordSecret: 'pw', sslverify: false }
    await expectBytes({ driver: 'https', url: server.url, ...definition })
    await server.close()
    server = await TestServer.start()
    const withUser = proxyUrl().replace('//', `//me:${canary}@`)
    await expectBytes({ driver: 'http', url: server.url, proxy: withUser, username: 'you', passwordSecret: 'pw' })
    const wanted = `Basic ${Buffer.from(`me:${canary}`).toString('base64')}`
    expect(new Set(seen.map(({ authorization }) => authorization))).toEqual(new Set([wanted]))
    expect(server.seen[0]?.headers['proxy-authorization']).toBeUndefined()
  })

  it.each([['http_proxy'], ['all_proxy'], ['ALL_PROXY']])('is found as %s', async (name) => {
    server = await TestServer.start()
    process.env[name] = proxyUrl()
    await expectBytes({ driver: 'http', url: server.url })
    expect(seen).not.toEqual([])
  })

  it.each([['https_proxy'], ['HTTPS_PROXY'], ['all_proxy']])('is found as %s for https', async (name) => {
    server = await TestServer.start({ tls })
    process.env[name] = proxyUrl().replace('http://', '')
    await expectBytes({ driver: 'https', url: server.url, sslverify: false })
    expect(seen).not.toEqual([])
  })

  it.each([
    ['HTTP_PROXY', undefined],
    ['https_proxy', undefined],
    ['http_proxy', '*'],
    ['http_proxy', 'example.org, 127.0.0.1'],
    ['http_proxy', '.0.0.1'],
  ])('is passed by where it is not for us: %s, no_proxy %s', async (name, exceptions) => {
    server = await TestServer.start()
    process.env[name] = proxyUrl()
    if (exceptions !== undefined) process.env.no_proxy = exceptions
    await expectBytes({ driver: 'http', url: server.url })
    expect(seen).toEqual([])
  })

  it('is passed by when the option is empty, and used when an exception is for another port', async () => {
    server = await TestServer.start()
    process.env.http_proxy = proxyUrl()
    process.env.no_proxy = '127.0.0.1:1,7.0.0.1,27.0.0.1'
    await expectBytes({ driver: 'http', url: server.url, proxy: '' })
    expect(seen).toEqual([])
    await expectBytes({ driver: 'http', url: server.url })
    expect(seen).not.toEqual([])
  })

  it.each([
    [407, 'EACCES'],
    [403, 'EACCES'],
    [503, 'EIO'],
    ['silence', 'ETIMEDOUT'],
  ] as const)('that says %s is an error, which shows no password', async (said, code) => {
    const secure = await TestServer.start({ tls })
    server = await TestServer.start()
    answer = said
    const definition = {
      proxy: proxyUrl().replace('//', `//me:${canary}@`),
      retries: 0,
      connectTimeout: 0.3,
      idleTimeout: 0.3,
    }
    const failures = [
      await graph.add({ driver: 'http', url: server.url, ...definition }).catch((error: unknown) => error),
      await graph
        .add({ driver: 'https', url: secure.url, sslverify: false, ...definition })
        .catch((error: unknown) => error),
    ]
    await secure.close()
    expect(failures[0]).toMatchObject({ code })
    expect(failures[1]).toMatchObject({ code: said === 403 ? 'EIO' : code })
    expect(inspect(failures, { depth: 12 })).not.toContain(canary)
    expect([...server.seen, ...secure.seen]).toEqual([])
  })

  it('that is not there is named', async () => {
    const failing = graph.add({ driver: 'http', url: 'http://x.invalid/', proxy: 'http://127.0.0.1:1', retries: 0 })
    await expect(failing).rejects.toMatchObject({ message: expect.stringContaining('the proxy 127.0.0.1:1') })
  })

  it.each([
    ['socks5://127.0.0.1:1', 'ENOTSUP'],
    ['http://[::', 'EINVAL'],
  ])('%s is refused', async (url, code) => {
    const failing = graph.add({ driver: 'http', url: 'http://x.invalid/', proxy: url })
    await expect(failing).rejects.toMatchObject({ code })
  })

  it('takes nobody to a nearer network by a redirect', async () => {
    server = await TestServer.start()
    server.behaviour = (request, response) => {
      if (request.url === '/real') return true
      return void response.writeHead(302, { location: '/real', 'content-length': 0 }).end()
    }
    await expectBytes({ driver: 'http', url: server.url.replace('127.0.0.1', 'localhost'), proxy: proxyUrl() })
    server.behaviour = (_, response) =>
      void response.writeHead(302, { location: 'http://127.0.0.1:1/', 'content-length': 0 }).end()
    const url = server.url.replace('127.0.0.1', 'localhost')
    await expect(graph.add({ driver: 'http', url, proxy: proxyUrl() })).rejects.toMatchObject({ code: 'EACCES' })
  })
})
