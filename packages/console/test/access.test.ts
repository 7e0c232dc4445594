/** Requests that a page of somebody else's, or another account, may make. */
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { request } from 'node:http'
import { connect } from 'node:net'
import { inspect } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { ConsoleServer } from '../src/index.ts'
import { buildPage } from './built-page.ts'
import { FakeMonitor } from './monitor.ts'

let page: string
let server: ConsoleServer
let monitor: FakeMonitor

beforeAll(async () => {
  page = await buildPage()
})
afterAll(() => rm(page, { recursive: true }))
beforeEach(async () => {
  monitor = new FakeMonitor({})
  server = await ConsoleServer.start({ connect: () => monitor.connect(), port: 0, page })
})
afterEach(() => server.close())

/** Status and headers of a request. */
function ask(path: string, options: { method?: string; headers?: Record<string, string> } = {}) {
  return new Promise<{ status: number; headers: Record<string, unknown>; body: string }>((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port: server.port, path, ...options }, async (response) => {
      let body = ''
      for await (const chunk of response) body += chunk
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body })
    })
    sent.on('error', reject)
    sent.end(options.method === 'POST' ? '{"execute":"qmp_capabilities"}' : undefined)
  })
}

interface Attempt {
  readonly path?: string
  readonly host?: string
  readonly origin?: string
  readonly protocols?: string[]
}

/** 101 when the WebSocket opens, else the status of the refusal. */
function upgrade({ path = '/qmp', host, origin, protocols }: Attempt = {}): Promise<number> {
  const own = `127.0.0.1:${server.port}`
  const token = new URL(server.url).hash.slice(1)
  const offered = protocols ?? ['diskgraph.qmp', `diskgraph.token.${token}`]
  const headers = { ...(host === undefined ? {} : { Host: host }), Origin: origin ?? `http://${host ?? own}` }
  const socket = new WebSocket(`ws://${own}${path}`, offered, { headers })
  return new Promise((resolve) => {
    socket.on('open', () => resolve(101))
    socket.on('unexpected-response', (_request, response) => resolve(response.statusCode ?? 0))
    socket.on('error', () => undefined)
  }).then((status) => {
    socket.terminate()
    return status as number
  })
}

describe('the page', () => {
  it('is handed out with headers that keep others from using it', async () => {
    const { status, headers, body } = await ask('/')
    expect(status).toBe(200)
    expect(body).toContain('<title>diskgraph console</title>')
    expect(headers['content-security-policy']).toContain("default-src 'none'")
    expect(headers['content-security-policy']).toContain("frame-ancestors 'none'")
    expect(headers['x-frame-options']).toBe('DENY')
    expect(headers['access-control-allow-origin']).toBeUndefined()
  })

  it('holds no token', async () => {
    const token = new URL(server.url).hash.slice(1)
    expect(token).toMatch(/^[\w-]{22}$/)
    for (const path of ['/', '/console.js']) expect((await ask(path)).body).not.toContain(token)
  })

  it.each(['evil.example', 'evil.example:80', '127.0.0.1', '127.0.0.1:1', '0.0.0.0:80'])(
    'is refused to the host %j',
    async (host) => {
      expect((await ask('/', { headers: { Host: host } })).status).toBe(421)
    },
  )

  it.each(['POST', 'PUT', 'DELETE', 'OPTIONS'])('takes no %s', async (method) => {
    expect((await ask('/qmp', { method })).status).toBe(405)
    expect(monitor.commands).toEqual([])
  })

  it.each(['/../package.json', '/%2e%2e/package.json', '/server.js', '/qmp', '//console.js'])(
    'has nothing at %s',
    async (path) => {
      expect((await ask(path)).status).toBe(404)
    },
  )
})

describe('the WebSocket', () => {
  it('opens for the page with the token', async () => {
    expect(await upgrade()).toBe(101)
  })

  it('opens by the name localhost, too', async () => {
    expect(await upgrade({ host: `localhost:${server.port}` })).toBe(101)
  })

  it.each([
    ['a foreign page', { origin: 'http://evil.example' }, 403],
    ['a page of another port', { origin: 'http://127.0.0.1:1' }, 403],
    ['a file', { origin: 'null' }, 403],
    ['a page without an origin', { origin: '' }, 403],
    ['a foreign host that resolves to here', { host: 'evil.example', origin: 'http://evil.example' }, 421],
    ['no token', { protocols: ['diskgraph.qmp'] }, 401],
    ['another token', { protocols: ['diskgraph.qmp', 'diskgraph.token.AAAAAAAAAAAAAAAAAAAAAA'] }, 401],
    ['an empty token', { protocols: ['diskgraph.qmp', 'diskgraph.token.'] }, 401],
    ['another protocol', { protocols: ['chat'] }, 400],
    ['another path', { path: '/' }, 404],
  ])('is refused to %s', async (_who, attempt, status) => {
    expect(await upgrade(attempt)).toBe(status)
    expect(monitor.streams.size).toBe(0)
  })

  it('is refused to the 17th page', async () => {
    const token = new URL(server.url).hash.slice(1)
    const own = `127.0.0.1:${server.port}`
    const sockets = Array.from(
      { length: 16 },
      () =>
        new WebSocket(`ws://${own}/qmp`, ['diskgraph.qmp', `diskgraph.token.${token}`], { origin: `http://${own}` }),
    )
    await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.on('open', resolve))))
    expect(await upgrade()).toBe(503)
    for (const socket of sockets) socket.terminate()
  })

  it('that was refused and stays half open keeps the server from nothing', async () => {
    const socket = connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true })
    socket.write('GET /qmp HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
    await once(socket, 'data')
    await server.close()
    server = await ConsoleServer.start({ connect: () => monitor.connect(), port: 0, page })
    socket.destroy()
  })

  it('ends its connection to the monitor with the page', async () => {
    await upgrade()
    await expect.poll(() => monitor.streams.size).toBe(0)
  })
})

it('console.log of a server shows no secret', () => {
  const secret = server.url.split('#')[1] as string
  expect(inspect(server)).toBe(`ConsoleServer { port: ${server.port}, pages: 0 }`)
  expect(JSON.stringify(server)).not.toContain(secret)
})

const connectNowhere = (): undefined => undefined

it.each([
  [{}, "needs the option 'connect', a function"],
  [{ connect: 5 }, "needs the option 'connect', a function"],
  [
    { connect: connectNowhere, prot: 1 },
    "ConsoleServer.start has no option 'prot'; its options are connect, port, page",
  ],
  [{ connect: connectNowhere, port: '80' }, "the option 'port' of ConsoleServer.start is a port, not 80"],
  [undefined, "needs the option 'connect'"],
])('settings that are none are refused: %o', async (settings, message) => {
  await expect(ConsoleServer.start(settings as never)).rejects.toThrow(message)
})
