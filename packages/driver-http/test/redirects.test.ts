import { Graph } from '@diskgraph/core'
import { http } from '@diskgraph/driver-http'
import { afterEach, describe, expect, it } from 'vitest'
import { NodeTransport } from '../../remote/src/http/node-transport.ts'
import { checkRedirect, redirectTarget } from '../../remote/src/http/redirects.ts'
import { type Zone, zoneOf } from '../../remote/src/http/zones.ts'
import { httpDriver } from '../src/image.ts'
import { httpOptions } from '../src/options.ts'
import { TestServer } from './server.ts'

const servers: TestServer[] = []
let graph = new Graph({ drivers: [http] })

async function start(host?: string): Promise<TestServer> {
  const server = await TestServer.start({ host })
  servers.push(server)
  return server
}

/** The driver, with addresses of this machine that count as `zones` say. */
function zoned(zones: Readonly<Record<string, Zone>>) {
  return httpDriver('http', httpOptions, async (settings) => {
    return new NodeTransport(settings, undefined, (address) => zones[address] ?? zoneOf(address))
  })
}

afterEach(async () => {
  await graph.close()
  for (const server of servers.splice(0)) await server.close()
})

function redirectTo(from: TestServer, location: string): void {
  from.behaviour = (_request, response) => void response.writeHead(302, { location, 'content-length': 0 }).end()
}

describe('redirects', () => {
  it('are followed to another path, and remembered', async () => {
    graph = new Graph({ drivers: [http] })
    const server = await start()
    server.behaviour = (request, response) => {
      if (request.url === '/real') return true
      response.writeHead(301, { location: '/real', 'content-length': 0 }).end()
    }
    const disk = await graph.add({ driver: 'http', url: server.url })
    await disk.read(600_000, new Uint8Array(10))
    expect(server.seen.map(({ url }) => url)).toEqual(['/disk.img', '/real', '/real'])
  })

  it('are followed anew from the start when the place they led to refuses', async () => {
    graph = new Graph({ drivers: [http] })
    const server = await start()
    let current = '/signed-1'
    server.behaviour = (request, response) => {
      if (request.url === current) return true
      if (request.url === '/disk.img') response.writeHead(302, { location: current, 'content-length': 0 }).end()
      else response.writeHead(403, { 'content-length': 0 }).end()
    }
    const disk = await graph.add({ driver: 'http', url: server.url })
    current = '/signed-2'
    const buf = new Uint8Array(10)
    await disk.read(600_000, buf)
    expect(buf).toEqual(server.content.subarray(600_000, 600_010))
  })

  it('are followed as often as maxRedirects says, and no more', async () => {
    graph = new Graph({ drivers: [http] })
    const server = await start()
    server.behaviour = (request, response) => {
      const hops = Number(/\d+$/.exec(request.url ?? '')?.[0] ?? 0)
      if (hops === 0) return true
      response.writeHead(307, { location: `/hop${hops - 1}`, 'content-length': 0 }).end()
    }
    await graph.add({ driver: 'http', url: `${server.origin}/hop5` })
    await expect(graph.add({ driver: 'http', url: `${server.origin}/hop6` })).rejects.toMatchObject({ code: 'ELOOP' })
    await expect(graph.add({ driver: 'http', url: `${server.origin}/hop1`, maxRedirects: 0 })).rejects.toThrow(
      /more than 0/,
    )
  })

  it('between loopback servers are followed by default', async () => {
    graph = new Graph({ drivers: [http] })
    const [first, second] = [await start(), await start()]
    redirectTo(first, second.url)
    const disk = await graph.add({ driver: 'http', url: first.url })
    expect(disk.size).toBe(1_000_000)
  })

  it('to another server or at all are refused if the rule says so', async () => {
    graph = new Graph({ drivers: [http] })
    const [first, second] = [await start(), await start()]
    redirectTo(first, second.url)
    const definition = { driver: 'http', url: first.url } as const
    await expect(graph.add({ ...definition, redirect: 'same-origin' })).rejects.toMatchObject({ code: 'EACCES' })
    await expect(graph.add({ ...definition, redirect: 'none' })).rejects.toMatchObject({ code: 'EACCES' })
    expect(second.seen).toEqual([])
  })

  const nearer: readonly (readonly [Zone, Zone])[] = [
    ['public', 'private'],
    ['public', 'link-local'],
    ['public', 'loopback'],
    ['private', 'link-local'],
    ['private', 'loopback'],
  ]
  for (const [from, to] of nearer) {
    it(`from a ${from} host to a ${to} address are refused before anything is sent there`, async () => {
      graph = new Graph({ drivers: [zoned({ '127.0.0.1': from, '127.0.0.2': to })] })
      const [first, second] = [await start(), await start('127.0.0.2')]
      redirectTo(first, second.url)
      await expect(graph.addUnchecked({ driver: 'http', url: first.url })).rejects.toMatchObject({ code: 'EACCES' })
      expect(second.connections).toBe(0)
      const disk = await graph.addUnchecked({ driver: 'http', url: first.url, redirect: 'any-address' })
      expect(disk.size).toBe(1_000_000)
    })
  }

  it('to a name are judged by the address that it resolves to', async () => {
    graph = new Graph({ drivers: [zoned({ '127.0.0.2': 'public' })] })
    const [first, second] = [await start('127.0.0.2'), await start()]
    redirectTo(first, `http://localhost:${second.port}/disk.img`)
    const opening = graph.addUnchecked({ driver: 'http', url: first.url })
    await expect(opening).rejects.toThrow(/refusing the redirect to 'localhost'/)
    expect(second.connections).toBe(0)
  })

  it('outwards are followed, and no way leads back inwards', async () => {
    graph = new Graph({ drivers: [zoned({ '127.0.0.1': 'private', '127.0.0.2': 'public' })] })
    const [inner, outer] = [await start(), await start('127.0.0.2')]
    redirectTo(inner, outer.url)
    expect((await graph.addUnchecked({ driver: 'http', url: inner.url })).size).toBe(1_000_000)
    const back = await start()
    redirectTo(outer, back.url)
    await expect(graph.addUnchecked({ driver: 'http', url: inner.url })).rejects.toMatchObject({ code: 'EACCES' })
  })

  it('never lead from https to http', () => {
    const from = new URL('https://a.example/x')
    for (const rule of ['safe', 'any-address'] as const) {
      expect(() => checkRedirect(from, new URL('http://a.example/x'), rule)).toThrow(/from https to http/)
      checkRedirect(new URL('http://a.example/'), new URL('https://b.example/'), rule)
    }
  })

  it('lose the credentials that a Location carries', () => {
    const target = redirectTarget(new URL('http://a.example/x'), 'http://user:canary@b.example/y#z', 'safe')
    expect(target.href).toBe('http://b.example/y')
  })
})

describe('the zone of an address', () => {
  const zones: Readonly<Record<Zone, readonly string[]>> = {
    loopback: [
      '127.0.0.1',
      '127.9.9.9',
      '0.0.0.0',
      '::1',
      '::',
      '::ffff:127.0.0.1',
      '::ffff:7f00:1',
      '64:ff9b::127.0.0.1',
    ],
    'link-local': ['169.254.169.254', 'fe80::1', 'fe80::1%eth0', 'febf::1', '::ffff:169.254.169.254'],
    private: ['10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1', '100.64.0.1', 'fc00::1', 'fd12:3456::1'],
    public: [
      '8.8.8.8',
      '172.32.0.1',
      '172.15.0.1',
      '100.128.0.1',
      '192.169.0.1',
      '2001:db8::1',
      '64:ff9b::8.8.8.8',
      'ff02::1',
    ],
  }
  for (const [zone, addresses] of Object.entries(zones)) {
    it(`is ${zone} for ${addresses.join(', ')}`, () => {
      for (const address of addresses) expect(zoneOf(address), address).toBe(zone)
    })
  }

  it('is that of the address inside a 6to4 address', () => {
    expect(zoneOf('2002:7f00:1::')).toBe('loopback')
    expect(zoneOf('2002:808:808::1')).toBe('public')
  })
})
