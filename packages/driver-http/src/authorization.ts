/**
 * How a user name and password are told to a server: at once by Basic (RFC 7617), or, when it asks for that, by Digest
 * (RFC 7616), in which the password never leaves this process. A server that offers both is answered by Digest.
 */
import { BlockError, type RandomSource } from '@diskgraph/core/driver'
import { type Authorizer, type Credentials, type DigestHash, httpHash } from '@diskgraph/remote'

/** Which ways are taken: `digest` never sends the password itself. */
export type Authentication = 'any' | 'digest'

interface Challenge {
  readonly realm: string
  readonly nonce: string
  readonly opaque: string | undefined
  readonly algorithm: DigestHash
  /** The algorithm as the server spelled it. */
  readonly spelled: string | undefined
  readonly session: boolean
  readonly qop: boolean
  readonly stale: boolean
}

class HttpAuthorizer implements Authorizer {
  readonly #username: string
  readonly #password: string
  readonly #basic: string | undefined
  readonly #random: RandomSource
  #challenge: Challenge | undefined
  #count = 0

  constructor(username: string, password: string, way: Authentication, random: RandomSource) {
    this.#username = username
    this.#password = password
    this.#basic = way === 'any' ? `Basic ${base64(`${username}:${password}`)}` : undefined
    this.#random = random
  }

  async headers(url: URL): Promise<Record<string, string>> {
    if (this.#challenge !== undefined) return { authorization: await this.#digest(this.#challenge, url) }
    return this.#basic === undefined ? {} : { authorization: this.#basic }
  }

  challenged(header: string): boolean {
    const found = parseChallenge(header)
    // The same answer to a nonce that is not out of date would be refused again.
    if (found === undefined || (this.#challenge !== undefined && !found.stale)) return false
    this.#challenge = found
    this.#count = 0
    return true
  }

  async #digest(challenge: Challenge, url: URL): Promise<string> {
    const { realm, nonce, opaque, algorithm, spelled, session, qop } = challenge
    const hash = (...parts: readonly string[]): Promise<string> => httpHash(algorithm, parts.join(':'))
    const uri = `${url.pathname}${url.search}`
    const count = (++this.#count).toString(16).padStart(8, '0')
    const own = Math.floor(this.#random() * 2 ** 48).toString(16)
    const user = await hash(this.#username, realm, this.#password)
    const secret = session ? await hash(user, nonce, own) : user
    const request = await hash('GET', uri)
    const response = qop ? await hash(secret, nonce, count, own, 'auth', request) : await hash(secret, nonce, request)
    const fields = [
      `username="${quoted(this.#username)}"`,
      `realm="${quoted(realm)}"`,
      `nonce="${quoted(nonce)}"`,
      `uri="${uri}"`,
      `response="${response}"`,
    ]
    if (spelled !== undefined) fields.push(`algorithm=${spelled}`)
    if (opaque !== undefined) fields.push(`opaque="${quoted(opaque)}"`)
    if (qop) fields.push('qop=auth', `nc=${count}`)
    if (qop || session) fields.push(`cnonce="${own}"`)
    return `Digest ${fields.join(', ')}`
  }
}

/** The authorizer of a node; undefined without a user name. EINVAL for a name that a header cannot say. */
export function authorizerOf(
  { username, password = '' }: Credentials,
  way: Authentication,
  random: RandomSource,
): Authorizer | undefined {
  if (username === undefined) return undefined
  if (username.includes(':')) throw new BlockError('EINVAL', "a user name cannot contain ':'")
  return new HttpAuthorizer(username, password, way, random)
}

const algorithms: Readonly<Record<string, DigestHash>> = { md5: 'MD5', 'sha-256': 'SHA-256' }

/** The strongest challenge of a header that can be answered. */
function parseChallenge(header: string): Challenge | undefined {
  const found = header.split(/(?:^|,)\s*(?=[A-Za-z][\w-]*\s+[\w-]+\s*=)/).flatMap((one) => digestOf(one) ?? [])
  return found.find(({ algorithm }) => algorithm === 'SHA-256') ?? found[0]
}

function digestOf(text: string): Challenge | undefined {
  if (!/^digest\s/i.test(text)) return undefined
  const fields = new Map<string, string>()
  for (const [, name = '', inQuotes, plain] of text
    .slice(7)
    .matchAll(/([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/g)) {
    fields.set(name.toLowerCase(), inQuotes?.replace(/\\(.)/g, '$1') ?? plain ?? '')
  }
  const spelled = fields.get('algorithm')
  const [, base = '', session] = /^(.*?)(-sess)?$/.exec(spelled?.toLowerCase() ?? 'md5') ?? []
  const algorithm = algorithms[base]
  const [realm, nonce, qops] = [fields.get('realm'), fields.get('nonce'), fields.get('qop')]
  const qop = qops?.split(',').some((one) => one.trim().toLowerCase() === 'auth')
  if (algorithm === undefined || realm === undefined || nonce === undefined || qop === false) return undefined
  return {
    realm,
    nonce,
    opaque: fields.get('opaque'),
    algorithm,
    spelled,
    session: session !== undefined,
    qop: qop === true,
    stale: fields.get('stale')?.toLowerCase() === 'true',
  }
}

function quoted(text: string): string {
  return text.replace(/["\\]/g, '\\$&')
}

function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)))
}
