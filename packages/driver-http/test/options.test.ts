import { execFile, spawnSync } from 'node:child_process'
import { promisify } from 'node:util'
import { Graph, isBlockError } from '@diskgraph/core'
import { http, https } from '@diskgraph/driver-http'
import { peer } from '@diskgraph/driver-testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { TestServer } from './server.ts'

const graph = new Graph({ drivers: [http, https], onWarning: () => undefined })
/** The curl driver of qemu-img is a package of its own (qemu-block-extra). */
const probe = spawnSync('qemu-img', ['info', '--image-opts', 'driver=http'], { encoding: 'utf8' })
const hasCurl = probe.stderr?.includes('curl block driver') === true
const qemu = peer(hasCurl ? 'qemu-img' : 'qemu-img with its curl driver', { describe, it })

afterEach(() => graph.close())

/** What our driver says about `options`, in QAPI's spelling, without what stands in front. */
async function ours(options: Readonly<Record<string, string>>): Promise<string> {
  try {
    await graph.addQapi({ retries: 0, ...options })
    return 'opened'
  } catch (error) {
    expect(isBlockError(error)).toBe(true)
    return (error as Error).message.replace(/^Could not open '.*?': /, '')
  }
}

/** What qemu-img says about the same. */
async function qemus(options: Readonly<Record<string, string>>): Promise<string> {
  const text = Object.entries(options)
    .map(([key, value]) => `${key}=${value}`)
    .join(',')
  const failure = await promisify(execFile)('qemu-img', ['info', '--image-opts', text], { timeout: 20_000 }).catch(
    (error: { stderr: string }) => error.stderr,
  )
  const lines = typeof failure === 'string' ? failure.split('\n') : []
  return (lines.find((line) => line.includes('Could not open')) ?? 'opened').replace(/^.*?Could not open '.*?': /, '')
}

const url = 'http://127.0.0.1:1/x'

describe('options', () => {
  const wrong: readonly Readonly<Record<string, string>>[] = [
    { driver: 'http', url: '' },
    { driver: 'http', url: 'ftp://127.0.0.1/x' },
    { driver: 'http', url: 'file:///etc/passwd' },
    { driver: 'http', url: 'HTTP://127.0.0.1/x' },
    { driver: 'http', url: 'https://127.0.0.1/x' },
    { driver: 'https', url },
    { driver: 'http', url, readahead: '1000' },
    { driver: 'http', url, timeout: 'abc' },
    { driver: 'http', url, timeout: '-1' },
    { driver: 'http', url, timeout: '100000' },
    { driver: 'http', url, cookie: 'a', 'cookie-secret': 'b' },
    { driver: 'http', url, 'password-secret': 'none' },
    { driver: 'http', url, 'cookie-secret': 'none' },
    { driver: 'https', url: 'https://127.0.0.1:1/x', sslverify: 'maybe' },
  ]
  for (const options of wrong) {
    const text = JSON.stringify(options)
    qemu.it(`${text} get the message of qemu-img`, async () => {
      const expected = await qemus(options)
      expect(expected).not.toBe('opened')
      expect(await ours(options)).toBe(expected)
    })
  }

  it('of https are unknown to http', async () => {
    const message = "Block protocol 'http' doesn't support the option 'sslverify'"
    expect(await ours({ driver: 'http', url, sslverify: 'off' })).toContain(message)
  })

  it('that ask for writing are refused before anything is sent', async () => {
    expect(await ours({ driver: 'http', url, 'read-only': 'off', 'auto-read-only': 'off' })).toBe(
      'curl driver does not support writes',
    )
  })

  it('name a server that is not there', async () => {
    expect(await ours({ driver: 'http', url })).toBe('cannot connect to 127.0.0.1:1: connection refused')
    expect(await ours({ driver: 'http', url: 'http://no-such-host.invalid/x' })).toMatch(/its name cannot be resolved/)
  })

  qemu.it('of a good server show the same size here and in qemu-img', async () => {
    await using server = await TestServer.start()
    const size = 1_000_448
    server.content = new Uint8Array(size)
    server.behaviour = (request, response) => {
      // QEMU asks by HEAD, and wants to be told of ranges.
      if (request.method === 'GET') return true
      response.writeHead(200, { 'accept-ranges': 'bytes', 'content-length': size }).end()
    }
    const { stdout } = await promisify(execFile)('qemu-img', ['info', '--output=json', server.url], { timeout: 20_000 })
    const disk = await graph.add({ driver: 'http', url: server.url })
    expect(JSON.parse(stdout)).toMatchObject({ 'virtual-size': disk.size, filename: disk.filename })
  })
})
