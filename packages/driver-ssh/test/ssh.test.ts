import { once } from 'node:events'
import { readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { Graph } from '@diskgraph/core'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { ssh } from '@diskgraph/driver-ssh'
import { conformance, findTool, peer, runTool } from '@diskgraph/driver-testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SshServer } from './server.ts'

const real = peer('sshd', { describe, it })

if (findTool('sshd') === undefined) real.it('is a file on a server', () => {})
else {
  const shared = await SshServer.start()
  let number = 0
  afterAll(() => shared.close())

  await conformance({
    test: { describe, it },
    driver: ssh,
    operations: 60,
    async setUp({ size, blank }) {
      const path = shared.folder.file(`disk-${number++}`)
      const content = new Uint8Array(size)
      if (!blank) for (let i = 0; i < size; i++) content[i] = (i % 253) + 1
      await writeFile(path, content)
      return { definition: shared.definition(path), content, tearDown: () => rm(path, { force: true }) }
    },
  })

  describe('a file on a server', () => {
    let server: SshServer
    let graph: Graph
    const bytes = new Uint8Array(300_000).map((_, i) => i % 251)

    beforeAll(async () => {
      server = await SshServer.start()
      return () => server.close()
    })
    beforeAll(() => {
      graph = new Graph({ drivers: [ssh, qcow2] })
      return () => graph.close()
    })

    const opening = (changes: object = {}) =>
      graph.add({ ...server.definition(server.folder.file('disk')), ...changes })

    it('is made, grows, and holds an image that QEMU reads', async () => {
      const path = server.folder.file('new.qcow2')
      await graph.create({ driver: 'qcow2', file: server.definition(path), size: 2 ** 20 })
      const disk = await graph.add({ driver: 'qcow2', file: server.definition(path) })
      await disk.write(100_000, bytes)
      await disk.close()
      const { stdout } = await runTool('qemu-io', ['-r', '-f', 'qcow2', '-c', 'read -v 100000 16', path])
      expect(stdout).toContain('00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f')
      expect((await runTool('qemu-img', ['check', path])).status).toBe(0)
    })

    it('is removed when the format that was to be made in it fails', async () => {
      const path = server.folder.file('failed.qcow2')
      const making = graph.create({ driver: 'qcow2', file: server.definition(path), size: 2 ** 20, clusterSize: 513 })
      await expect(making).rejects.toMatchObject({ code: 'EINVAL' })
      await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' })
    })

    it('is opened by any key of the server that is known', async () => {
      await writeFile(server.folder.file('disk'), bytes)
      await server.know(await server.hostKey('host-rsa.pub'))
      await (await opening()).close()
      await server.know(await server.hostKey(), '*,!10.*')
      await (await opening()).close()
    })

    it.each([
      ['no host key was found in known_hosts', async () => server.know(await server.hostKey(), 'elsewhere')],
      [
        /host key \(ssh-ed25519 key with fingerprint SHA256:\S{43}\) does not match the one in known_hosts/,
        async () => server.know((await server.hostKey()).replace(/....$/, 'AAAA')),
      ],
      ['host key for this server not found, another type exists', () => server.know('ssh-dss AAAA')],
      [
        'the ssh-ed25519 host key has been revoked',
        async () => {
          const name = `[127.0.0.1]:${server.port}`
          await server.know(await server.hostKey(), `@revoked ${name}`)
        },
      ],
    ])('is not opened where %s', async (message, prepare) => {
      await prepare()
      await expect(opening()).rejects.toThrow(message)
      await (await opening({ hostKeyCheck: { mode: 'none' } })).close()
    })

    it('is opened by the fingerprint of the server, and by no other', async () => {
      const refusal = await opening({ hostKeyCheck: { mode: 'hash', type: 'sha256', hash: 'aa' } }).catch((e) => e)
      const [, hash] =
        /fingerprint 'sha256:(\w{64})' does not match host_key_check 'sha256:aa'/.exec(refusal.message) ?? []
      const colons = (hash as string).replace(/..(?=.)/g, '$&:').toUpperCase()
      await (await opening({ hostKeyCheck: { mode: 'hash', type: 'sha256', hash: colons } })).close()
    })

    it('is not opened by who has no key', async () => {
      const home = process.env.HOME
      process.env.HOME = server.folder.file('nobody')
      const refusal = await opening({ hostKeyCheck: { mode: 'none' } }).catch((error) => error)
      process.env.HOME = home
      expect(refusal).toMatchObject({ code: 'EACCES', message: expect.stringMatching(/failed to authenticate using/) })
      expect(refusal.hint).toContain('ssh-add')
    })

    it('must be a file, and there', async () => {
      const none = { hostKeyCheck: { mode: 'none' } }
      const missing = opening({ ...none, path: server.folder.file('missing') })
      await expect(missing).rejects.toMatchObject({
        code: 'ENOENT',
        message: expect.stringMatching(/failed to open remote file '.*missing'/),
      })
      await expect(opening({ ...none, path: server.folder.path, readOnly: true })).rejects.toThrow('is no regular file')
    })

    it('that is cut off meanwhile gives an error, and no bytes', async () => {
      await server.know(await server.hostKey())
      await writeFile(server.folder.file('disk'), bytes)
      const disk = await opening()
      await truncate(server.folder.file('disk'), 1000)
      await expect(disk.read(900, new Uint8Array(600))).rejects.toMatchObject({ code: 'EIO' })
      await disk.close()
    })

    it('keeps what was flushed when the server is killed, and lets nobody wait', async () => {
      await writeFile(server.folder.file('disk'), new Uint8Array(bytes.length))
      const disk = await opening()
      await disk.write(0, bytes)
      await disk.flush()
      const late = Promise.allSettled(Array.from({ length: 50 }, () => disk.read(0, new Uint8Array(2 ** 17))))
      await server.stop()
      const results = await late
      for (const result of results) {
        if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'ECONNRESET' })
      }
      await expect(disk.write(0, bytes)).rejects.toThrow('lost the connection to the server')
      await expect(disk.flush()).rejects.toThrow('lost the connection to the server')
      await disk.close().catch(() => {})
      expect(new Uint8Array(await readFile(server.folder.file('disk')))).toEqual(bytes)
      await server.restart()
      const again = await opening()
      const read = new Uint8Array(bytes.length)
      await again.read(0, read)
      expect(read).toEqual(bytes)
      await again.close()
    })
  })

  describe('a server that never answers', () => {
    it('is left at once by an abort', async () => {
      const sockets: Socket[] = []
      const silent = createServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1')
      await once(silent, 'listening')
      const { port } = silent.address() as { port: number }
      const graph = new Graph({ drivers: [ssh] })
      const definition = { driver: 'ssh', server: { host: '127.0.0.1', port: String(port) }, path: '/x' } as const
      const opening = graph.add(definition, { signal: AbortSignal.timeout(200) })
      await expect(opening).rejects.toMatchObject({ code: 'ECANCELED' })
      await graph.close()
      for (const socket of sockets) socket.destroy()
      silent.close()
    })
  })
}
