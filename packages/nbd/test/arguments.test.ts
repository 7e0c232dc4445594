import { inspect } from 'node:util'
import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { connectSocket, listen, NbdClient, NbdServer, TlsCredentials } from '@diskgraph/nbd'
import { describe, expect, it } from 'vitest'
import { Served } from './served.ts'

const graph = new Graph({ drivers: [memory] })
// biome-ignore lint/suspicious/noExplicitAny: what a program without types may do
const any = (value: unknown): any => value
const never = (): Promise<never> => Promise.reject(new Error('nothing is to be connected to'))

const calls: Readonly<Record<string, readonly [call: () => unknown, message: string]>> = {
  'a server without a graph': [() => new NbdServer(any(undefined)), 'new NbdServer needs a graph, not undefined'],
  'a misspelt setting': [
    () => new NbdServer(graph, any({ maxConection: 5 })),
    "new NbdServer has no option 'maxConection' did you mean 'maxConnections'?",
  ],
  'a number of clients that is none': [
    () => new NbdServer(graph, { maxConnections: Number.NaN }),
    "the option 'maxConnections' of new NbdServer is a whole number from 0 on, not NaN",
  ],
  'less than no memory': [
    () => new NbdServer(graph, { maxMemory: -1 }),
    "'maxMemory' of new NbdServer is a whole number from 0 on, not -1",
  ],
  'TLS that is none': [() => new NbdServer(graph, { tls: any('yes') }), "'tls' of new NbdServer is one side of TLS"],
  'a client without a way to connect': [
    () => NbdClient.connect(any({})),
    "NbdClient.connect needs the option 'connect', a function",
  ],
  'a client of a path': [
    () => NbdClient.connect(any('/run/nbd')),
    'takes an object of options, not a value of type string',
  ],
  'an endless handshake': [
    () => NbdClient.connect({ connect: never, handshakeTimeout: 0 }),
    'a number of milliseconds from 1 on, not 0',
  ],
  'a wait of no length': [
    () => NbdClient.connect({ connect: never, openTimeout: Number.NaN }),
    "'openTimeout' of NbdClient.connect is a number of seconds from 0 on, not NaN",
  ],
  'a stream that is none': [
    () => NbdClient.connect({ connect: any(async () => 7) }),
    'connect needs a stream of bytes',
  ],
  'a client on nothing': [() => new NbdServer(graph).accept(any(null)), 'accept needs a stream of bytes'],
  'an address that is none': [() => connectSocket(any('/run/nbd')), 'an address is { path }'],
  'a port beyond all ports': [() => connectSocket({ port: 65536 }), 'a port'],
  'a path with a zero': [() => listen(new NbdServer(graph), { path: '/tmp/a\0b' }), 'none of them zero'],
  'no path': [() => listen(new NbdServer(graph), { path: '' }), 'at least one character'],
  'credentials of no kind': [
    () => new TlsCredentials(any({ type: 'pgp', endpoint: 'server', dir: '/' })),
    "the option 'type' of new TlsCredentials is one of 'x509', 'psk', not 'pgp'",
  ],
  'an export of nothing': [() => new NbdServer(graph).exports.add(any(null)), 'needs a node, a disk or the name'],
  'a misspelt setting of an export': [
    () => new NbdServer(graph).exports.add('disk', any({ readonly: true })),
    "exports.add has no option 'readonly'",
  ],
}

describe('an error says what is due in place of', () => {
  for (const [what, [call, message]] of Object.entries(calls)) {
    it(what, async () => {
      const error = await (async () => call())().catch((reason: unknown) => reason)
      expect(error).toMatchObject({ code: 'EINVAL' })
      expect(`${(error as Error).message} ${(error as { hint?: string }).hint}`).toContain(message)
    })
  }
})

it('a client refuses requests that make no sense, and goes on', async () => {
  await using served = await Served.start()
  await using client = await served.client()
  const requests = [
    () => client.read(Number.NaN, new Uint8Array(1)),
    () => client.read(0, any(null)),
    () => client.read(0, any('text')),
    () => client.write(-1, new Uint8Array(1)),
    () => client.write(0, new Uint8Array(32 * 2 ** 20 + 1)),
    () => client.trim(0, 2 ** 32),
    () => client.writeZeroes(0.5, 1),
    () => client.blockStatus(0, any(undefined)),
  ]
  for (const request of requests) await expect(request()).rejects.toMatchObject({ code: 'EINVAL' })
  await client.read(0, new Uint8Array(1))
})

it('what is closed says so', async () => {
  const served = await Served.start()
  const client = await served.client()
  await client.close()
  await client.close()
  await expect(client.read(0, new Uint8Array(1))).rejects.toMatchObject({ code: 'ENODEV' })
  await served.server.close()
  await served.server.close()
  await expect(served.server.exports.add('disk', { name: 'x' })).rejects.toMatchObject({ code: 'ENODEV' })
  await expect(listen(served.server, { path: served.path })).rejects.toMatchObject({ code: 'ENODEV' })
  await served[Symbol.asyncDispose]()
})

it('console.log of a server, its exports and a client tells what is worth knowing', async () => {
  await using served = await Served.start({}, { name: 'x', description: 'a disk' })
  await using client = await served.client({ exportName: 'x' })
  expect(inspect(served.server)).toMatch(/^NbdServer \{.*name: 'x'.*connections: 1.*tls: false/s)
  expect(inspect(served.server.exports.get('x'))).toMatch(/^NbdExport \{.*clients: 1/s)
  expect(inspect(client)).toMatch(/^NbdClient \{.*size: 1048576.*connected: true/s)
  expect(inspect(served.server).length).toBeLessThan(500)
})
