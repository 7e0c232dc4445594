import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Graph } from '@diskgraph/core'
import { type HttpsOptions, http, https } from '@diskgraph/driver-http'
import { afterEach, describe, expect, it } from 'vitest'
import { TestServer } from './server.ts'

const fixture = (name: string): string => fileURLToPath(new URL(`./fixtures/${name}.pem`, import.meta.url))
const authority = fixture('authority')
const servers: TestServer[] = []
const graph = new Graph({ drivers: [http, https] })

async function start(certificate: string): Promise<TestServer> {
  const server = await TestServer.start({
    tls: { cert: readFileSync(fixture(certificate)), key: readFileSync(fixture('server-key')) },
  })
  servers.push(server)
  return server
}

async function open(server: TestServer, options: Partial<HttpsOptions> = {}) {
  return graph.add({ driver: 'https', url: server.url, retries: 0, ...options })
}

afterEach(async () => {
  await graph.close()
  for (const server of servers.splice(0)) await server.close()
})

describe('https', () => {
  it('reads from a server whose certificate is signed by the given authority', async () => {
    const server = await start('good')
    const disk = await open(server, { ca: authority })
    const buf = new Uint8Array(100)
    await disk.read(500_000, buf)
    expect(buf).toEqual(server.content.subarray(500_000, 500_100))
    expect(disk.filename).toBe(server.url)
  })

  const refusals: readonly (readonly [why: string, certificate: string, ca: string | undefined])[] = [
    ['signed by an unknown authority', 'good', undefined],
    ['for another host', 'wrong-host', authority],
    ['that has expired', 'expired', authority],
  ]
  for (const [why, certificate, ca] of refusals) {
    it(`refuses a certificate ${why}, and sends nothing`, async () => {
      const server = await start(certificate)
      const failure = open(server, ca === undefined ? {} : { ca })
      await expect(failure).rejects.toMatchObject({ code: 'EACCES', message: expect.stringContaining('certificate') })
      expect(server.seen).toEqual([])
    })
  }

  it('reads from a server with any certificate when sslverify is off, and its name says so', async () => {
    const server = await start('wrong-host')
    const disk = await open(server, { sslverify: false })
    expect(disk.size).toBe(1_000_000)
    expect(disk.filename).toBe(`json:{"url": "${server.url}", "driver": "https", "sslverify": false}`)
  })

  it('is refused a file of certificates that is not there', async () => {
    const server = await start('good')
    await expect(open(server, { ca: fixture('missing') })).rejects.toMatchObject({ code: 'EINVAL' })
  })

  it('reports a server that does not speak TLS', async () => {
    const server = await TestServer.start()
    servers.push(server)
    await expect(open(server, { url: server.url.replace('http:', 'https:') })).rejects.toMatchObject({ code: 'EIO' })
  })

  it('is not left by a redirect to http', async () => {
    const [secure, plain] = [await start('good'), await TestServer.start()]
    servers.push(plain)
    secure.behaviour = (_request, response) => {
      response.writeHead(302, { location: plain.url, 'content-length': 0 }).end()
    }
    await expect(open(secure, { ca: authority })).rejects.toThrow(/from https to http/)
    expect(plain.seen).toEqual([])
  })

  it('is entered by a redirect from http, where the certificate is verified', async () => {
    const [secure, plain] = [await start('good'), await TestServer.start()]
    servers.push(plain)
    plain.behaviour = (_request, response) => {
      response.writeHead(302, { location: secure.url, 'content-length': 0 }).end()
    }
    await expect(graph.add({ driver: 'http', url: plain.url, retries: 0 })).rejects.toMatchObject({ code: 'EACCES' })
    expect(secure.seen).toEqual([])
  })

  it('keeps its connections', async () => {
    const server = await start('good')
    const disk = await open(server, { ca: authority, readahead: 0, connections: 1 })
    for (let i = 0; i < 10; i++) await disk.read(200_000 + i * 10_000, new Uint8Array(10))
    expect(server.connections).toBe(1)
  })
})
