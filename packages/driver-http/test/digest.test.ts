/** Digest authentication, judged by a server that computes as RFC 7616 says. */
import { createHash } from 'node:crypto'
import { Graph } from '@diskgraph/core'
import { http } from '@diskgraph/driver-http'
import { afterEach, describe, expect, it } from 'vitest'
import { type Behaviour, TestServer } from './server.ts'

const graph = new Graph({ drivers: [http], secrets: { pw: 'Circle of Life' } })
let server: TestServer

afterEach(async () => {
  await graph.close()
  await server.close()
})

interface Wanted {
  readonly algorithm?: string
  readonly qop?: string
  /** How many answers a nonce is good for. */
  readonly lifetime?: number
}

const unquoted = (text = ''): string => text.replace(/^"|"$/g, '')

/** A server that lets nobody in without the right answer to its challenge. */
function guarded({ algorithm, qop, lifetime = 1000 }: Wanted): Behaviour {
  const hash = (...parts: readonly string[]): string =>
    createHash(algorithm?.startsWith('SHA-256') ? 'sha256' : 'md5')
      .update(parts.join(':'))
      .digest('hex')
  let nonce = 1
  let uses = 0
  return (request, response) => {
    const header = request.headers.authorization ?? ''
    const fields = Object.fromEntries(
      [...header.matchAll(/(\w+)=("[^"]*"|[^,\s]+)/g)].map(([, name, value]) => [name, unquoted(value)]),
    )
    const user = hash('Mufasa', 'pride, "rock"', 'Circle of Life')
    const secret = algorithm?.endsWith('-sess') ? hash(user, fields.nonce ?? '', fields.cnonce ?? '') : user
    const path = hash('GET', request.url ?? '')
    const wanted =
      qop === undefined
        ? hash(secret, fields.nonce ?? '', path)
        : hash(secret, fields.nonce ?? '', fields.nc ?? '', fields.cnonce ?? '', 'auth', path)
    const right = header.startsWith('Digest ') && fields.response === wanted && fields.opaque === 'o'
    const stale = right && (fields.nonce !== String(nonce) || ++uses > lifetime)
    if (right && !stale) return true
    if (stale) {
      nonce++
      uses = 0
    }
    const more = `${algorithm ? `, algorithm=${algorithm}` : ''}${qop ? `, qop="${qop}"` : ''}${stale ? ', stale=true' : ''}`
    response.writeHead(401, {
      'www-authenticate': ['Basic realm="x"', `Digest realm="pride, \\"rock\\"", nonce="${nonce}", opaque="o"${more}`],
      'content-length': 0,
    })
    response.end()
    return false
  }
}

/** The realm has quotes in it, which the server above reads as they were sent. */
const definition = () => ({ driver: 'http', url: server.url, username: 'Mufasa', passwordSecret: 'pw' }) as const

describe('Digest authentication', () => {
  for (const wanted of [
    {},
    { algorithm: 'MD5', qop: 'auth' },
    { algorithm: 'MD5-sess', qop: 'auth-int,auth' },
    { algorithm: 'SHA-256', qop: 'auth' },
    { algorithm: 'SHA-256-sess', qop: 'auth' },
  ]) {
    it(`answers ${JSON.stringify(wanted)}`, async () => {
      server = await TestServer.start({ behaviour: guarded(wanted) })
      const disk = await graph.add(definition())
      const buf = new Uint8Array(100)
      await disk.read(600_000, buf)
      expect(buf).toEqual(server.content.subarray(600_000, 600_100))
    })
  }

  it('takes a new nonce when the one before is out of date, as often as it must', async () => {
    server = await TestServer.start({ behaviour: guarded({ algorithm: 'SHA-256', qop: 'auth', lifetime: 1 }) })
    const disk = await graph.add({ ...definition(), retries: 0 })
    for (let at = 0; at < 3; at++) await disk.read(300_000 * at, new Uint8Array(10))
    // Each answer is used once, the first one and those of two reads.
    expect(server.seen).toHaveLength(6)
  })

  it('sends a password of which the server has no need to nobody when it is asked not to', async () => {
    server = await TestServer.start({ behaviour: guarded({ algorithm: 'MD5', qop: 'auth' }) })
    await graph.add({ ...definition(), authentication: 'digest' })
    expect(server.seen.map(({ headers }) => headers.authorization?.slice(0, 6))).toEqual([undefined, 'Digest'])
  })

  it('asks once when the password is wrong', async () => {
    server = await TestServer.start({ behaviour: guarded({ algorithm: 'MD5', qop: 'auth' }) })
    graph.addSecret('wrong', 'Hakuna')
    const adding = graph.add({ ...definition(), passwordSecret: 'wrong', authentication: 'digest' })
    await expect(adding).rejects.toMatchObject({ code: 'EACCES' })
    expect(server.seen).toHaveLength(2)
  })

  it('gives up on what it does not know', async () => {
    server = await TestServer.start({ behaviour: guarded({ algorithm: 'SHA-512-256', qop: 'auth' }) })
    await expect(graph.add(definition())).rejects.toMatchObject({ code: 'EACCES' })
    expect(server.seen).toHaveLength(1)
  })
})
