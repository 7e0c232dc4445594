/** What the drivers do with servers that are as they should be, and with those that are not. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import { Graph, isBlockError } from '@diskgraph/core'
import { ftp, ftps } from '@diskgraph/driver-ftp'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { patternOf } from '../../driver-http/test/server.ts'
import { FtpServer, type FtpServerSettings } from './server.ts'

const canary = 'canary-51c9'
const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../driver-http/test/fixtures/${name}.pem`, import.meta.url))
const tls = { cert: readFileSync(fixture('good')), key: readFileSync(fixture('server-key')) }

const warnings: string[] = []
let graph: Graph
let server: FtpServer

beforeEach(() => {
  warnings.length = 0
  graph = new Graph({ drivers: [ftp, ftps], secrets: { pw: canary }, onWarning: (text) => warnings.push(text) })
})

afterEach(async () => {
  await graph.close()
  await server.close()
})

async function start(settings: Partial<FtpServerSettings> = {}): Promise<string> {
  server = await FtpServer.start({ content: patternOf(1_000_000), ...settings })
  return server.url
}

/** Times that do not hold a test up. */
const quick = { idleTimeout: 0.3, connectTimeout: 0.5, timeout: 3 } as const

async function failureOf(work: Promise<unknown>): Promise<Error & { code: string; hint?: string }> {
  const failure = await work.catch((error: unknown) => error)
  expect(isBlockError(failure), inspect(failure)).toBe(true)
  return failure as never
}

const count = (command: string): number => server.commands.filter((line) => line.startsWith(command)).length

describe('an FTP file', () => {
  it('is read as the README shows', async () => {
    const url = await start({ password: 'a password from elsewhere' })
    // url is, say, 'ftp://images.example.org/disk.img'
    await using graph = new Graph({ drivers: [ftp], secrets: { token: 'a password from elsewhere' } })
    const disk = await graph.add({ driver: 'ftp', url, username: 'reader', passwordSecret: 'token' })
    mustShowExample(import.meta.url)
    const buf = new Uint8Array(4096)
    await disk.read(500_000, buf)
    expect(buf).toEqual(server.content.subarray(500_000, 504_096))
  })

  it('is sent once for reads that follow each other', async () => {
    const disk = await graph.add({ driver: 'ftp', url: await start() })
    const before = count('RETR')
    const buf = new Uint8Array(10_000)
    for (let offset = 0; offset < 1_000_000; offset += buf.length) {
      await disk.read(offset, buf)
      expect(buf).toEqual(server.content.subarray(offset, offset + buf.length))
    }
    expect(count('RETR')).toBe(before)
    expect(before).toBe(2)
  })

  it('is read by as many sessions as there may be, which are used again', async () => {
    const disk = await graph.add({ driver: 'ftp', url: await start(), readahead: 0, connections: 3 })
    const places = Array.from({ length: 30 }, (_, i) => (i * 317_311) % 990_000)
    await Promise.all(
      places.map(async (offset) => {
        const buf = new Uint8Array(512)
        await disk.read(offset, buf)
        expect(buf).toEqual(server.content.subarray(offset, offset + 512))
      }),
    )
    expect(server.sessions).toBe(3)
  })

  it('is read by fewer sessions when the server allows no more', async () => {
    const url = await start()
    server.behaviour = (command) => (command === '' && server.sessions > 1 ? '421 too many of you' : undefined)
    const disk = await graph.add({ driver: 'ftp', url, readahead: 0, connections: 4, retries: 0 })
    const reads = [0, 1, 2, 3, 4, 5].map((i) => disk.read(100_000 * i, new Uint8Array(512)))
    await Promise.all(reads)
    expect(count('USER')).toBe(1)
  })

  it('is read over PASV where there is no EPSV, from the server itself', async () => {
    const url = await start()
    server.behaviour = (command) => (command === 'EPSV' ? '522 no' : undefined)
    const disk = await graph.add({ driver: 'ftp', url, connections: 1 })
    await disk.read(999_000, new Uint8Array(1000))
    expect(count('EPSV')).toBe(1)
    expect(count('PASV')).toBeGreaterThan(1)
  })

  it('may be empty', async () => {
    const disk = await graph.add({ driver: 'ftp', url: await start({ content: new Uint8Array(0) }) })
    expect(disk.size).toBe(0)
  })

  it('is asked for by a path relative to where the login leads, or from the root', async () => {
    const url = await start()
    server.behaviour = (command, path) => (command === 'SIZE' && path !== 'disk.img' ? '213 0' : undefined)
    const origin = url.replace('/disk.img', '')
    await graph.add({ driver: 'ftp', url: `${origin}/a%20b/c.img;type=i` })
    await graph.add({ driver: 'ftp', url: `${origin}/%2Fsrv/c%3F.img` })
    expect(server.commands).toContain('SIZE a b/c.img')
    expect(server.commands).toContain('SIZE /srv/c?.img')
  })

  it('is not asked for by a path that would be two commands', async () => {
    const url = await start()
    for (const path of ['a%0D%0ADELE%20b', 'a%00b', 'folder/', '%ff', 'a;type=a']) {
      const definition = { driver: 'ftp', url: url.replace('disk.img', path) }
      expect(await failureOf(graph.addUnchecked(definition))).toMatchObject({ code: 'EINVAL' })
    }
    graph.addSecret('two lines', `a\r\nDELE b`)
    const failure = await failureOf(graph.add({ driver: 'ftp', url, username: 'u', passwordSecret: 'two lines' }))
    expect(failure).toMatchObject({ code: 'EINVAL' })
    expect(server.commands).toEqual([])
  })
})

describe('credentials', () => {
  it('may stand in the URL, and are in no name', async () => {
    const url = (await start({ password: 'p@ss' })).replace('//', '//me:p%40ss@')
    const disk = await graph.add({ driver: 'ftp', url })
    expect(server.commands).toContain('PASS p@ss')
    expect(disk.filename).toBe(server.url)
    const other = await graph.add({ driver: 'ftp', url, username: 'me' })
    expect(other.filename).toBe(`json:{"url": "${server.url}", "driver": "ftp", "username": "me"}`)
  })

  it('that are wrong are refused once', async () => {
    const failure = await failureOf(
      graph.add({ driver: 'ftp', url: await start({ password: 'right' }), username: 'u', passwordSecret: 'pw' }),
    )
    expect(failure).toMatchObject({ code: 'EACCES', message: expect.stringContaining('Access denied: 530') })
    expect(count('PASS')).toBe(1)
  })

  it('appear in no message, name, cause or warning, whatever fails', async () => {
    const url = await start({ password: canary })
    const definition = { driver: 'ftp', url, username: 'u', passwordSecret: 'pw', retries: 0, ...quick } as const
    const disk = await graph.add(definition)
    const outputs: unknown[] = [disk.filename, disk.node.image, disk.describe()]
    const answers = ['', '421 bye', '530 no', '550 no', 'nonsense', '226 yes']
    for (const command of ['USER', 'PASS', 'TYPE', 'SIZE', 'RETR']) {
      for (const answer of answers) {
        server.behaviour = (got) =>
          got === command ? (command === 'PASS' ? `${answer} ${canary}` : answer) : undefined
        outputs.push(await graph.add(definition).catch((error: unknown) => error))
      }
    }
    const inUrl = graph.addUnchecked({ driver: 'ftp', url: url.replace('//', `//u:${canary}@`), retries: 0, ...quick })
    outputs.push(await inUrl.catch((error: unknown) => error))
    const text = [...outputs, ...warnings].map((output) => inspect(output, { depth: 12 })).join('\n')
    expect(text).toContain(url)
    expect(text).not.toContain(canary)
  })
})

describe('TLS', () => {
  const trusted = { ca: fixture('authority') } as const

  it.each(['implicit', 'explicit'] as const)('is %s when it is asked to be', async (way) => {
    const url = await start({ tls, implicit: way === 'implicit' })
    const disk = await graph.add({ driver: 'ftps', url: url.replace('127.0.0.1', 'localhost'), tls: way, ...trusted })
    const buf = new Uint8Array(1000)
    await disk.read(700_000, buf)
    expect(buf).toEqual(server.content.subarray(700_000, 701_000))
    expect(server.commands[0]).toBe(way === 'explicit' ? 'AUTH TLS' : 'USER anonymous')
    expect(server.commands).toContain('PROT P')
  })

  it('with a certificate that nobody has signed is refused before the user name is told', async () => {
    const url = await start({ tls, implicit: true })
    expect(await failureOf(graph.add({ driver: 'ftps', url }))).toMatchObject({ code: 'EACCES' })
    expect(server.commands).toEqual([])
    await graph.add({ driver: 'ftps', url, sslverify: false })
  })

  it('that the server does not have is an error before the user name is told', async () => {
    const url = (await start()).replace('ftp:', 'ftps:')
    const failure = await failureOf(graph.add({ driver: 'ftps', url, tls: 'explicit' }))
    expect(failure).toMatchObject({ code: 'EACCES', message: expect.stringContaining('does not speak TLS') })
    expect(server.commands).toEqual(['AUTH TLS'])
  })

  it('begins with nothing that came before it', async () => {
    const url = await start({ tls })
    server.behaviour = (command) => (command === 'AUTH' ? '234 go\r\n230 you are in already' : undefined)
    const failure = await failureOf(graph.add({ driver: 'ftps', url, tls: 'explicit', retries: 0 }))
    expect(failure.message).toContain('between its consent to TLS and TLS')
  })
})

describe('a server that', () => {
  const failing: Readonly<Record<string, readonly [command: string, answer: string, code: string, text: string]>> = {
    'has no such file': ['SIZE', '550 no', 'ENOENT', 'The file does not exist'],
    'tells no size': ['SIZE', '502 what?', 'ENOTSUP', "Server didn't report file size."],
    'tells a size that is none': ['SIZE', '213 -1', 'ENOTSUP', "Server didn't report file size."],
    'tells a size without end': ['SIZE', '213 99999999999999999999', 'EFBIG', 'too large'],
    'cannot begin in the middle': ['REST', '502 what?', 'ENOTSUP', 'refuses REST 999999'],
    'does not let us read': ['RETR', '550 permission denied', 'ENOENT', 'does not exist'],
    'opens no connection for data': ['EPSV', '229 passive (|||0|)', 'EIO', 'no connection for data'],
    'cannot transfer bytes': ['TYPE', '504 no', 'ENOTSUP', 'refuses TYPE I'],
    'lets nobody in': ['', '500 go away', 'EIO', 'lets nobody in'],
    'does not speak FTP': ['', 'HTTP/1.1 400 Bad Request', 'EIO', 'is not FTP'],
    'does not speak FTP later': ['USER', 'hello', 'EIO', 'is not FTP'],
    'talks without end': ['SIZE', `213-${'x'.repeat(20_000)}`, 'EIO', 'is not FTP'],
    'does not answer': ['MDTM', '', 'ETIMEDOUT', 'does not answer'],
    'is silent from the start': ['', '', 'ETIMEDOUT', 'does not answer'],
  }
  for (const [what, [command, answer, code, text]] of Object.entries(failing)) {
    it(`${what} is an error`, async () => {
      const url = await start()
      server.behaviour = (got) => (got === command ? answer : undefined)
      const began = performance.now()
      const failure = await failureOf(graph.add({ driver: 'ftp', url, retries: 0, ...quick }))
      expect(failure).toMatchObject({ code, message: expect.stringContaining(text) })
      expect(performance.now() - began).toBeLessThan(2500)
    })
  }

  it('begins elsewhere than REST says is an error when the file is opened', async () => {
    const url = await start()
    server.body = () => server.content
    const failure = await failureOf(graph.add({ driver: 'ftp', url, retries: 0 }))
    expect(failure).toMatchObject({ code: 'EIO', message: expect.stringContaining('more than the file has') })
  })

  it('sends less than the file has is an error, after it was tried again', async () => {
    const url = await start()
    const disk = await graph.add({ driver: 'ftp', url, retries: 2 })
    server.body = (from) => server.content.subarray(from, from + 100)
    server.cut()
    const buf = new Uint8Array(150)
    await disk.read(600_000, buf)
    expect(buf).toEqual(server.content.subarray(600_000, 600_150))
    server.body = () => new Uint8Array(0)
    const failure = await failureOf(disk.read(900_000, buf))
    expect(failure).toMatchObject({ code: 'ECONNRESET', message: expect.stringContaining('too early') })
  })

  it('stops sending is an error in time', async () => {
    const url = await start()
    const disk = await graph.add({ driver: 'ftp', url, retries: 1, ...quick })
    server.stallAfter = 0
    const failure = await failureOf(disk.read(500_000, new Uint8Array(4096)))
    expect(failure).toMatchObject({ code: 'ETIMEDOUT', message: expect.stringContaining('stopped sending') })
  })

  it('ends all connections is logged into again', async () => {
    const disk = await graph.add({ driver: 'ftp', url: await start(), retries: 0 })
    for (const offset of [0, 300_000, 600_000, 100]) {
      server.cut()
      const buf = new Uint8Array(1000)
      await disk.read(offset, buf)
      expect(buf).toEqual(server.content.subarray(offset, offset + 1000))
    }
    expect(server.sessions).toBeGreaterThan(1)
  })

  it('breaks off in the middle is asked for the rest', async () => {
    const disk = await graph.add({ driver: 'ftp', url: await start(), readahead: 0 })
    server.body = (from) => {
      server.body = undefined
      setTimeout(() => server.cut(), 50)
      return server.content.subarray(from, from + 100_000)
    }
    server.stallAfter = 99_000
    setTimeout(() => (server.stallAfter = Number.POSITIVE_INFINITY), 25)
    const buf = new Uint8Array(200_000)
    await disk.read(500_000, buf)
    expect(buf).toEqual(server.content.subarray(500_000, 700_000))
  })

  it('has another file by now is noticed, and stays an error until the node is opened again', async () => {
    const disk = await graph.add({ driver: 'ftp', url: await start() })
    server.changed = '20260101000001'
    for (const offset of [600_000, 300_000]) {
      expect(await failureOf(disk.read(offset, new Uint8Array(10)))).toMatchObject({ code: 'ESTALE' })
    }
    server.content = patternOf(500_000)
    const again = await graph.add({ driver: 'ftp', url: server.url })
    expect(again.size).toBe(500_000)
  })

  it('tells no date is warned of, and noticed by its size', async () => {
    const url = await start()
    server.behaviour = (command) => (command === 'MDTM' ? '500 what?' : undefined)
    const disk = await graph.add({ driver: 'ftp', url })
    expect(warnings.join()).toContain('MDTM')
    server.content = patternOf(1_000_001)
    expect(await failureOf(disk.read(600_000, new Uint8Array(10)))).toMatchObject({ code: 'ESTALE' })
  })
})

it('a read that is given up ends at once, and takes nothing from those that come after', async () => {
  const url = await start()
  const disk = await graph.add({ driver: 'ftp', url, readahead: 0 })
  server.behaviour = (command) => (command === 'RETR' ? '' : undefined)
  const controller = new AbortController()
  const reading = disk.read(600_000, new Uint8Array(10), 0, controller.signal)
  setTimeout(() => controller.abort(), 50)
  expect(await failureOf(reading)).toMatchObject({ code: 'ECANCELED' })
  server.behaviour = undefined
  const buf = new Uint8Array(10)
  await disk.read(600_000, buf)
  expect(buf).toEqual(server.content.subarray(600_000, 600_010))
})
