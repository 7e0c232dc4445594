/** Credentials go to the server that they are for, and nowhere else: not to another server, not into a message. */
import { inspect } from 'node:util'
import { Graph } from '@diskgraph/core'
import { http } from '@diskgraph/driver-http'
import { raw } from '@diskgraph/driver-raw'
import { afterEach, describe, expect, it } from 'vitest'
import { TestServer } from './server.ts'

const canary = 'canary-7f3a'
const servers: TestServer[] = []
const warnings: string[] = []
let graph: Graph

function newGraph(): Graph {
  graph = new Graph({
    drivers: [http, raw],
    secrets: { pw: `${canary}-password`, jar: `session=${canary}-cookie` },
    onWarning: (text) => warnings.push(text),
  })
  return graph
}

async function start(): Promise<TestServer> {
  const server = await TestServer.start()
  servers.push(server)
  return server
}

afterEach(async () => {
  await graph.close()
  for (const server of servers.splice(0)) await server.close()
})

const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`

describe('credentials', () => {
  it('are sent as Basic authentication, in UTF-8', async () => {
    newGraph().addSecret('umlaut', 'pässwörd')
    const server = await start()
    await graph.add({ driver: 'http', url: server.url, username: 'jürgen', passwordSecret: 'umlaut' })
    expect(server.seen[0]?.headers.authorization).toBe(basic('jürgen:pässwörd'))
  })

  it('may stand in the URL, which is sent without them', async () => {
    newGraph()
    const server = await start()
    await graph.add({ driver: 'http', url: `http://user:p%40ss@127.0.0.1:${server.port}/disk.img` })
    expect(server.seen[0]?.headers.authorization).toBe(basic('user:p@ss'))
    expect(server.seen[0]?.headers.host).toBe(`127.0.0.1:${server.port}`)
  })

  it('may be cookies, given or as a secret', async () => {
    newGraph()
    const server = await start()
    await graph.add({ driver: 'http', url: server.url, cookie: 'a=b; c=d' })
    await graph.add({ driver: 'http', url: server.url, cookieSecret: 'jar' })
    expect(server.seen.map(({ headers }) => headers.cookie)).toEqual(['a=b; c=d', `session=${canary}-cookie`])
  })

  it('are not sent to another server that the first redirects to', async () => {
    newGraph()
    const [first, second] = [await start(), await start()]
    first.behaviour = (_request, response) => {
      response.writeHead(302, { location: second.url, 'content-length': 0 }).end()
    }
    const disk = await graph.add({
      driver: 'http',
      url: first.url,
      username: 'u',
      passwordSecret: 'pw',
      cookieSecret: 'jar',
    })
    await disk.read(600_000, new Uint8Array(10))
    expect(first.seen[0]?.headers.authorization).toBe(basic(`u:${canary}-password`))
    expect(second.seen).toHaveLength(2)
    for (const { headers } of second.seen) {
      expect(headers.authorization).toBeUndefined()
      expect(headers.cookie).toBeUndefined()
    }
  })

  it('appear in no message, name, cause or warning, whatever fails', async () => {
    newGraph()
    const server = await start()
    server.etag = undefined
    const definition = {
      driver: 'http',
      url: server.url,
      username: 'u',
      passwordSecret: 'pw',
      cookieSecret: 'jar',
      retries: 0,
      timeout: 1,
    } as const
    const outputs: unknown[] = []
    const disk = await graph.add(definition)
    outputs.push(disk.filename, disk.node.image, disk.describe())
    for (const behaviour of [
      (request: { socket: { destroy(): void } }) => void request.socket.destroy(),
      () => undefined,
      (_: unknown, response: import('node:http').ServerResponse) => void response.writeHead(401).end(),
      (_: unknown, response: import('node:http').ServerResponse) =>
        void response.writeHead(302, { location: 'ftp://x/' }).end(),
    ]) {
      server.behaviour = behaviour as never
      outputs.push(await disk.read(700_000, new Uint8Array(10)).catch((error: unknown) => error))
      outputs.push(await graph.add(definition).catch((error: unknown) => error))
    }
    const text = [...outputs, ...warnings].map((output) => inspect(output, { depth: 12 })).join('\n')
    expect(text).toContain(server.url)
    expect(text).not.toContain(canary)
    expect(text).not.toContain(Buffer.from(`u:${canary}`).toString('base64').slice(0, 12))
  })

  it('in a URL or as a cookie are no part of the name of the node', async () => {
    newGraph()
    const server = await start()
    const url = `http://user:${canary}@127.0.0.1:${server.port}/disk.img`
    const disk = await graph.add({ driver: 'http', url })
    expect(disk.filename).toBe(server.url)
    const other = await graph.add({ driver: 'http', url, cookie: `x=${canary}`, username: 'u', passwordSecret: 'pw' })
    expect(other.filename).toBe(
      `json:{"password-secret": "pw", "url": "${server.url}", "driver": "http", "username": "u"}`,
    )
  })

  it('in a URL or as a cookie are no part of the name of a node above, nor of the error of one that fails', async () => {
    newGraph()
    const server = await start()
    const url = `http://user:${canary}@127.0.0.1:${server.port}/disk.img`
    const file = { driver: 'http', url, cookie: `x=${canary}`, username: 'u' }
    const disk = await graph.addUnchecked({ driver: 'raw', offset: 512, file })
    expect(disk.filename).toContain(server.url)
    await server.close()
    servers.pop()
    const failures = [
      await graph.addUnchecked({ ...file, retries: 0 }).catch((error: unknown) => error),
      await graph.open(url, { retries: 0 }).catch((error: unknown) => error),
      await graph.open(`json:${JSON.stringify({ driver: 'http', url })}`).catch((error: unknown) => error),
    ]
    for (const failure of failures) expect(failure).toBeInstanceOf(Error)
    expect(inspect([disk.filename, ...failures], { depth: 12 })).not.toContain(canary)
  })

  it('that cannot be sent are refused without being shown', async () => {
    newGraph().addSecret('bad', `${canary}\r\nX-Evil: 1`)
    const server = await start()
    for (const definition of [
      { driver: 'http', url: server.url, cookieSecret: 'bad' },
      { driver: 'http', url: server.url, username: 'a:b', passwordSecret: 'pw' },
      { driver: 'http', url: server.url, passwordSecret: 'pw' },
    ] as const) {
      const failure = await graph.add(definition).catch((error: unknown) => error)
      expect(failure).toMatchObject({ code: 'EINVAL' })
      expect(inspect(failure, { depth: 12 })).not.toContain(canary)
    }
    expect(server.seen).toEqual([])
  })

  it('that a server asks for in a way that is not supported are said to be that', async () => {
    newGraph()
    const server = await start()
    server.behaviour = (_request, response) => {
      response.writeHead(401, { 'www-authenticate': 'Negotiate', 'content-length': 0 }).end()
    }
    const failure = await graph.add({ driver: 'http', url: server.url }).catch((error: unknown) => error)
    expect(failure).toMatchObject({ code: 'EACCES', hint: expect.stringContaining('neither Basic nor Digest') })
  })
})
