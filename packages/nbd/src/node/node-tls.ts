/**
 * TLS by Node, with the credentials of QEMU's objects `tls-creds-x509` and `tls-creds-psk`: files of fixed names in one
 * directory (`ca-cert.pem`, `server-cert.pem`, `server-key.pem`, `client-cert.pem`, `client-key.pem`; `keys.psk`).
 */
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { checkServerIdentity, connect, createServer, type TLSSocket } from 'node:tls'
import { BlockError, describeErrorCode, errorCodeOf } from '@diskgraph/core/driver'
import { checkSettings, due, oneOf } from '@diskgraph/core/internal'
import type { TlsClient } from '../client/settings.ts'
import type { TlsServer } from '../server/negotiation.ts'
import type { ByteDuplex } from '../stream/byte-duplex.ts'

/** How to find credentials. */
export interface TlsCredentialSettings {
  /** Certificates or keys that both sides know. */
  readonly type: 'x509' | 'psk'
  readonly endpoint: 'server' | 'client'
  /** Where the files are. */
  readonly dir: string
  /** A server asks clients for certificates, a client looks at that of the server. Default true. */
  readonly verifyPeer?: boolean
  /** The name that a client of `psk` gives. Default `qemu`. */
  readonly username?: string
}

/** Whether a client may use the server; its distinguished name is as in `CN=host,O=Org`. */
export type Authorizer = (distinguishedName: string) => boolean

/** PSK has no certificates, and old suites of TLS 1.2 only. */
const pskCiphers = 'PSK+ECDHE:PSK+DHE:PSK:@SECLEVEL=1'

const defaultUsername = 'qemu'

const rules = {
  type: { ...oneOf('x509', 'psk'), required: true },
  endpoint: { ...oneOf('server', 'client'), required: true },
  dir: { ...due.text, required: true },
  verifyPeer: due.flag,
  username: due.text,
}

/** Credentials of one side. Their files are read once. */
export class TlsCredentials {
  readonly settings: TlsCredentialSettings
  readonly #x509: { ca: Buffer; cert?: Buffer; key?: Buffer; crl?: Buffer } | undefined
  readonly #keys: ReadonlyMap<string, Buffer> | undefined

  /** ENOENT and its kin when a file that is needed cannot be read. */
  constructor(settings: TlsCredentialSettings) {
    checkSettings('new TlsCredentials', rules, settings)
    this.settings = settings
    const { type, dir, endpoint } = settings
    if (type === 'psk') {
      const path = join(dir, 'keys.psk')
      this.#keys = readKeys(path)
      const { username = defaultUsername } = settings
      if (endpoint === 'client' && !this.#keys.has(username)) {
        throw new BlockError('EINVAL', `Username ${username} not found in PSK file ${path}`)
      }
      return
    }
    const ca = readNeeded(join(dir, 'ca-cert.pem'))
    const crl = readIfThere(join(dir, 'ca-crl.pem'))
    const needed = endpoint === 'server' ? readNeeded : readIfThere
    const cert = needed(join(dir, `${endpoint}-cert.pem`))
    const key = cert && readNeeded(join(dir, `${endpoint}-key.pem`))
    this.#x509 = { ca, ...(crl ? { crl } : {}), ...(cert && key ? { cert, key } : {}) }
  }

  /** The server's side. `authorize` judges the certificates of clients. EINVAL for credentials of a client. */
  server(authorize?: Authorizer): TlsServer {
    const { endpoint, verifyPeer = true } = this.settings
    if (endpoint !== 'server') throw new BlockError('EINVAL', 'Expected TLS credentials for a server endpoint')
    if (authorize !== undefined && this.#keys !== undefined) {
      throw new BlockError('EINVAL', 'clients with pre-shared keys have no certificates to authorize them by')
    }
    const options = this.#keys
      ? { ciphers: pskCiphers, pskCallback: (_: unknown, identity: string) => this.#keys?.get(identity) ?? null }
      : { ...this.#x509, requestCert: verifyPeer, rejectUnauthorized: verifyPeer }
    return {
      secure: (stream) =>
        new Promise((resolve, reject) => {
          const server = createServer({ ...options, minVersion: 'TLSv1.2' }, (socket) => {
            if (authorize === undefined || authorize(distinguishedName(socket))) resolve(socket)
            else {
              socket.destroy()
              reject(new BlockError('EPERM', 'TLS x509 authz check for the client is denied'))
            }
          })
          server.on('tlsClientError', (error) => reject(handshakeError(error)))
          stream.on('close', () => reject(new BlockError('ECONNRESET', 'the client left during the TLS handshake')))
          server.emit('connection', stream)
        }),
    }
  }

  /** The client's side, for a server called `hostname`. EINVAL for credentials of a server. */
  client(hostname: string | undefined): TlsClient {
    const { endpoint, verifyPeer = true, username = defaultUsername } = this.settings
    if (endpoint !== 'client') throw new BlockError('EINVAL', 'Expected TLS credentials for a client endpoint')
    if (this.#keys !== undefined) {
      const psk = this.#keys.get(username) as Buffer
      const identity = (): { identity: string; psk: Buffer } => ({ identity: username, psk })
      return {
        secure: (stream) =>
          secureClient(stream, { ciphers: pskCiphers, pskCallback: identity, checkServerIdentity: () => undefined }),
      }
    }
    if (hostname === undefined && verifyPeer) throw new BlockError('EINVAL', 'No hostname for certificate validation')
    const name = hostname ?? 'localhost'
    const options = {
      ...this.#x509,
      rejectUnauthorized: verifyPeer,
      checkServerIdentity: (_: string, cert: Parameters<typeof checkServerIdentity>[1]) =>
        checkServerIdentity(name, cert),
      ...(isIP(name) === 0 ? { servername: name } : {}),
    }
    return { secure: (stream) => secureClient(stream, options) }
  }
}

function secureClient(stream: ByteDuplex, options: object): Promise<ByteDuplex> {
  return new Promise((resolve, reject) => {
    const socket: TLSSocket = connect({ ...options, minVersion: 'TLSv1.2', socket: stream as unknown as Duplex })
    const fail = (error: Error): void => reject(handshakeError(error))
    socket.once('error', fail)
    socket.once('close', () => reject(new BlockError('ECONNRESET', 'the server left during the TLS handshake')))
    socket.once('secureConnect', () => {
      socket.off('error', fail)
      resolve(socket)
    })
  })
}

function handshakeError(cause: Error & { code?: string; host?: string }): BlockError {
  if (cause.code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return new BlockError('EACCES', `Certificate does not match the hostname ${cause.host}`, { cause })
  }
  return new BlockError('EACCES', `TLS handshake failed: ${cause.message}`, { cause })
}

/** The name in the client's certificate, last part first. */
function distinguishedName(socket: TLSSocket): string {
  const subject = socket.getPeerX509Certificate()?.subject ?? ''
  return subject.split('\n').reverse().join(',')
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch (error) {
    if (errorCodeOf(error) === 'ENOENT') return undefined
    throw unreadable(path, error)
  }
}

function readNeeded(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw unreadable(path, error)
  }
}

function unreadable(path: string, cause: unknown): BlockError {
  const code = errorCodeOf(cause)
  return new BlockError(code, `Unable to access credentials ${path}: ${describeErrorCode(code)}`, { cause })
}

/** Lines of `name:key`, the key in hexadecimal digits. */
function readKeys(path: string): ReadonlyMap<string, Buffer> {
  const keys = new Map<string, Buffer>()
  for (const line of readNeeded(path).toString('utf8').split('\n')) {
    const match = /^([^#:][^:]*):((?:[0-9a-fA-F]{2})+)\s*$/.exec(line)
    if (match) keys.set(match[1] as string, Buffer.from(match[2] as string, 'hex'))
  }
  return keys
}
