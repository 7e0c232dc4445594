/** What the driver does with servers that are as they should be, with those that are not, and with a poor network. */
import { execFileSync, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { Graph, isBlockError } from '@diskgraph/core'
import { mustShowExample, peer, TempFolder } from '@diskgraph/driver-testkit'
import { tftp } from '@diskgraph/driver-tftp'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { patternOf } from '../../driver-http/test/server.ts'
import { TftpServer } from './server.ts'

const quick = { idleTimeout: 0.1, retries: 3 } as const
let graph: Graph
let server: TftpServer

beforeEach(async () => {
  graph = new Graph({ drivers: [tftp] })
  server = await TftpServer.start(patternOf(1_000_000))
})

afterEach(async () => {
  await graph.close()
  await server.close()
})

async function expectContent(definition: object): Promise<void> {
  const disk = await graph.addUnchecked({ driver: 'tftp', ...definition } as { driver: string })
  const buf = new Uint8Array(server.content.length)
  expect(disk.size).toBe(buf.length)
  await disk.read(0, buf)
  expect(Buffer.compare(buf, server.content)).toBe(0)
}

async function failureOf(definition: object): Promise<Error & { code: string; hint?: string }> {
  const adding = graph.addUnchecked({ driver: 'tftp', url: server.url, ...quick, ...definition })
  const failure = await adding.catch((error: unknown) => error)
  expect(isBlockError(failure), String(failure)).toBe(true)
  return failure as never
}

const error = (code: number, text = ''): Uint8Array => Buffer.from(`\0\x05\0${String.fromCharCode(code)}${text}\0`)

describe('a TFTP file', () => {
  it('is read as the README shows', async () => {
    const { url } = server
    // url is, say, 'tftp://boot.example.org/disk.img'
    await using graph = new Graph({ drivers: [tftp] })
    const disk = await graph.add({ driver: 'tftp', url, maxSize: 2 ** 20 })
    mustShowExample(import.meta.url)
    const buf = new Uint8Array(4096)
    await disk.read(500_000, buf)
    expect(buf).toEqual(server.content.subarray(500_000, 504_096))
    expect(disk.filename).toBe(url)
  })

  it('is asked for with size, block size and window, and confirmed to its end', async () => {
    await expectContent({ url: server.url })
    expect(server.requests).toEqual([['disk.img', 'octet', 'tsize', '0', 'blksize', '1428', 'windowsize', '16']])
    await expect.poll(() => server.finished).toBe(1)
  })

  it.each([0, 1, 511, 512, 1427, 1428, 1428 * 16, 300_000])('may have %i bytes', async (size) => {
    server.content = patternOf(size)
    await expectContent({ url: server.url })
  })

  it.each([[[]], [['tsize']], [['blksize']], [['windowsize']], [['blksize', 'tsize']]])(
    'comes from a server that knows %j of the options',
    async (knows) => {
      server.behaviour = { knows }
      await expectContent({ url: server.url })
    },
  )

  it('comes from a server that refuses options', async () => {
    server.behaviour = { first: error(8, 'no options') }
    // It refuses the second request as well, which has none.
    expect(await failureOf({})).toMatchObject({ code: 'EIO', message: expect.stringContaining('no options') })
    expect(server.requests[1]).toEqual(['disk.img', 'octet'])
    expect(server.requests).toHaveLength(2)
  })

  it('may have more blocks than a number of two bytes counts', async () => {
    server.content = patternOf(70_000 * 8 + 3)
    await expectContent({ url: server.url, blockSize: 8 })
  })

  it.each([[1], [16]])('comes whole over a network that loses every ninth datagram, window %i', async (windowSize) => {
    server.content = patternOf(150_000)
    server.behaviour = { lose: (count) => count % 9 === 4 }
    await expectContent({ url: server.url, windowSize, idleTimeout: 0.02, retries: 20 })
  })

  it('comes whole when every datagram comes twice', async () => {
    server.behaviour = { copies: 2 }
    await expectContent({ url: server.url })
    expect(server.sent).toBeLessThan(3000)
  })

  it('comes whole while somebody else writes to our port, who is told that we do not know him', async () => {
    server.content = patternOf(20_000)
    server.behaviour = { foreign: (datagram) => datagram.map((byte, i) => (i < 4 ? byte : byte ^ 255)) }
    // Who is first is the server: the first datagram is lost to the others.
    server.behaviour.foreign = ((own) => {
      let count = 0
      return (datagram: Uint8Array) => (count++ === 0 ? new Uint8Array(0) : own(datagram))
    })(server.behaviour.foreign as (datagram: Uint8Array) => Uint8Array)
    await expectContent({ url: server.url })
    await expect.poll(() => server.errors.filter((code) => code === 5).length).toBeGreaterThan(0)
  })

  it('is fetched again when it has changed and what is cached is to be forgotten', async () => {
    const disk = await graph.add({ driver: 'tftp', url: server.url })
    server.content = patternOf(1_000_000).map((byte) => byte ^ 1)
    const buf = new Uint8Array(10)
    await disk.read(0, buf)
    expect(buf).toEqual(patternOf(10))
    await disk.node.image.invalidateCache?.()
    await disk.read(0, buf)
    expect(buf).toEqual(server.content.subarray(0, 10))
  })
})

describe('an error', () => {
  it('is a file that is too long for the memory it may have, as soon as that is known', async () => {
    const told = await failureOf({ maxSize: 999_999 })
    expect(told).toMatchObject({ code: 'EFBIG', hint: expect.stringContaining('max-size') })
    expect(server.sent).toBe(1)
    server.behaviour = { knows: ['blksize'] }
    expect(await failureOf({ maxSize: 10_000 })).toMatchObject({ code: 'EFBIG' })
    expect(server.sent).toBeLessThan(15)
    await expect.poll(() => server.errors).toEqual([3, 3])
    await expectContent({ url: server.url, maxSize: 1_000_000 })
  })

  it('is what the server says, without what no terminal should be told', async () => {
    const missing = await failureOf({ url: server.url.replace('disk', 'none') })
    expect(missing).toMatchObject({ code: 'ENOENT', message: expect.stringContaining('no such? file') })
    server.behaviour = { first: error(2) }
    expect(await failureOf({})).toMatchObject({ code: 'EACCES' })
  })

  it.each([
    ['blksize', '1429'],
    ['blksize', '7'],
    ['windowsize', '17'],
    ['windowsize', '0'],
    ['tsize', '-1'],
    ['tsize', '1e3'],
    ['multicast', 'yes'],
  ])('is an answer to an option that was not asked for: %s %s', async (name, value) => {
    server.behaviour = { answers: { [name]: value } }
    expect(await failureOf({})).toMatchObject({ code: 'EIO', message: expect.stringContaining(name) })
    await expect.poll(() => server.errors).toEqual([8])
  })

  it('is a size that was not true', async () => {
    server.behaviour = { answers: { tsize: '1000001' } }
    expect(await failureOf({})).toMatchObject({ code: 'EIO', message: expect.stringContaining('and sent 1000000') })
  })

  it('is a block that is longer than was agreed', async () => {
    server.behaviour = { change: (bytes, block) => (block === 5 ? Buffer.concat([bytes, bytes]) : bytes) }
    expect(await failureOf({})).toMatchObject({ code: 'EIO', message: expect.stringContaining('in a block of 1428') })
  })

  it.each([
    ['from the start', { silentAfter: -1, knows: [] }],
    ['after the options', { silentAfter: 0 }],
    ['in the middle', { silentAfter: 100 }],
  ])('is silence %s, in time', async (_, behaviour) => {
    server.behaviour = behaviour
    const began = performance.now()
    expect(await failureOf({})).toMatchObject({ code: 'ETIMEDOUT' })
    expect(performance.now() - began).toBeLessThan(1500)
  })

  it('is a server that says the same for ever', async () => {
    const block = Buffer.concat([Buffer.from([0, 3, 0, 1]), patternOf(512)])
    server.behaviour = { change: () => block, knows: [], copies: 3 }
    expect(await failureOf({})).toMatchObject({ code: 'ETIMEDOUT' })
  })

  it('is nonsense, in time', async () => {
    for (const first of [[], [0], [0, 3], [0, 3, 0], [0, 9, 0, 1], [0, 6, 65], [0, 6, 65, 0], [255, 255, 255, 255]]) {
      server.behaviour = { first: Uint8Array.from(first) }
      expect(await failureOf({ retries: 1, idleTimeout: 0.03 })).toMatchObject({ code: 'ETIMEDOUT' })
    }
  })

  it('is a file that takes too long as a whole', async () => {
    server.behaviour = { lose: (count) => count % 2 === 1, knows: [] }
    const failure = await failureOf({ timeout: 1, idleTimeout: 0.05 })
    expect(failure).toMatchObject({ code: 'ETIMEDOUT', message: expect.stringContaining('takes too long') })
  })

  it('is a name that TFTP cannot ask for', async () => {
    const origin = server.url.replace('disk.img', '')
    for (const path of ['', 'a%00b', '%ff', 'x'.repeat(500), 'a;mode=netascii']) {
      expect(await failureOf({ url: origin + path })).toMatchObject({ code: 'EINVAL' })
    }
    const named = await failureOf({ url: server.url.replace('//', '//user:canary@') })
    expect(named).toMatchObject({ code: 'EINVAL', message: expect.not.stringContaining('canary') })
    expect(server.requests).toEqual([])
  })
})

it('giving up ends the transfer on both sides', async () => {
  server.behaviour = { silentAfter: 100 }
  const controller = new AbortController()
  const definition = { driver: 'tftp', url: server.url, idleTimeout: 10 } as const
  const adding = graph.add(definition, { signal: controller.signal })
  await expect.poll(() => server.sent).toBeGreaterThan(90)
  controller.abort()
  await expect(adding).rejects.toMatchObject({ code: 'ECANCELED' })
  await expect.poll(() => server.errors.length).toBe(1)
})

const hpa = peer('in.tftpd', { describe, it })

hpa.it('reads what tftpd-hpa serves, as Debian has it', async () => {
  await using folder = await TempFolder.make()
  await mkdir(folder.file('root'), { mode: 0o755 })
  await writeFile(folder.file('root/disk.img'), server.content, { mode: 0o644 })
  const user = execFileSync('id', ['-un'], { encoding: 'utf8' }).trim()
  const probe = createSocket('udp4').bind(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address()
  probe.close()
  const words = ['--foreground', '--address', `127.0.0.1:${port}`, '--user', user, '--secure', folder.file('root')]
  const daemon = spawn(hpa.path as string, words, { stdio: 'ignore' })
  try {
    const url = `tftp://127.0.0.1:${port}/disk.img`
    // Until it listens the request is sent again.
    await expectContent({ url, idleTimeout: 0.1, retries: 100 })
    for (const blockSize of [512, 8192]) await expectContent({ url, blockSize })
    expect(await failureOf({ url: url.replace('disk', 'none') })).toMatchObject({ code: 'ENOENT' })
  } finally {
    daemon.kill()
    await once(daemon, 'close')
  }
})
