/** A server that lets everybody in, with one file of zeroes, and answers no more than it is told to. */
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import ssh2 from 'ssh2'

/** Bytes of the file. */
export const fileSize = 4096

/** See the top of this file; `silent`: it says nothing of SFTP, or answers no reads. Ask `address` when it runs. */
export class SilentServer {
  readonly #server: ssh2.Server
  readonly #clients = new Set<ssh2.Connection>()
  /** Called when a question comes that stays without an answer. */
  onSilence: () => void = () => {}
  silent: 'never' | 'of SFTP' | 'of reads' = 'never'

  private constructor() {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const key = privateKey.export({ type: 'pkcs1', format: 'pem' })
    this.#server = new ssh2.Server({ hostKeys: [key] }, (client) => {
      this.#clients.add(client)
      client.on('error', () => {})
      client.on('authentication', (request) => request.accept())
      client.on('session', (accept) => this.#serve(accept()))
    })
  }

  static async start(): Promise<SilentServer> {
    const server = new SilentServer()
    server.#server.listen(0, '127.0.0.1')
    await once(server.#server, 'listening')
    return server
  }

  #serve(session: ssh2.Session): void {
    if (this.silent === 'of SFTP') {
      session.on('subsystem', (accept: () => unknown) => {
        accept()
        this.onSilence()
      })
      return
    }
    session.on('sftp', (accept) => {
      const sftp = accept()
      const attributes = { size: fileSize, mode: 0o100644, uid: 0, gid: 0, atime: 0, mtime: 0 }
      sftp.on('OPEN', (id) => sftp.handle(id, Buffer.from('file')))
      sftp.on('FSTAT', (id) => sftp.attrs(id, attributes))
      sftp.on('CLOSE', (id) => sftp.status(id, 0))
      sftp.on('READ', (id, _handle, _offset, length) => {
        if (this.silent === 'of reads') this.onSilence()
        else sftp.data(id, Buffer.alloc(length))
      })
    })
  }

  /** Options of a node. */
  get definition() {
    const { port } = this.#server.address() as AddressInfo
    const server = { host: '127.0.0.1', port: String(port) }
    return { driver: 'ssh', server, path: '/disk', user: 'me', hostKeyCheck: { mode: 'none' }, readOnly: true } as const
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.end()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
