/** dg-nbd with the clients of others, and dg-img with their servers: in plain text, and with TLS of both kinds. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { peer, runTool, ServerProcess, type ToolResult } from '@diskgraph/driver-testkit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { BuiltPrograms } from './built-programs.ts'
import { authorityOf, makeCredentials } from './credentials.ts'

const size = 3 * 2 ** 20
const content = Buffer.concat([randomBytes(2 ** 20), Buffer.alloc(2 ** 20), Buffer.alloc(2 ** 20, 7)])
const folder = mkdtempSync(join(tmpdir(), 'nbd-peers-'))
const file = (name: string): string => join(folder, name)
const socket = file('socket')
const openssl = peer('openssl', { describe, it: test })
let programs: BuiltPrograms
let own = ''
let foreign = ''
let nameless = ''

beforeAll(() => {
  programs = new BuiltPrograms('nbd-peers-test')
  writeFileSync(file('disk'), content)
  if (openssl.path === undefined) return
  own = makeCredentials(folder, 'own')
  foreign = makeCredentials(folder, 'foreign')
  nameless = authorityOf(own, file('nameless'))
})

afterAll(() => {
  programs.remove()
  rmSync(folder, { recursive: true, force: true })
})

/** Ways to protect a connection: words of servers, the URI of libnbd, options of QEMU's clients. */
interface Protection {
  readonly qemu: () => readonly string[]
  readonly nbdkit: () => readonly string[]
  readonly uri: (dir: string) => string
  /** An object, and the options of a node that uses it. */
  readonly client: (dir: string) => readonly [string | undefined, string]
}

const protections: Readonly<Record<'plain text' | 'certificates' | 'keys', Protection>> = {
  'plain text': {
    qemu: () => [],
    nbdkit: () => [],
    uri: () => `nbd+unix:///?socket=${socket}`,
    client: () => [undefined, ''],
  },
  certificates: {
    qemu: () => ['--object', `tls-creds-x509,id=tls0,endpoint=server,dir=${own}`, '--tls-creds', 'tls0'],
    nbdkit: () => ['--tls=require', `--tls-certificates=${own}`, '--tls-verify-peer'],
    uri: (dir) => `nbds+unix:///?socket=${socket}&tls-certificates=${dir}&tls-hostname=localhost`,
    client: (dir) => [`tls-creds-x509,id=c,endpoint=client,dir=${dir}`, ',tls-creds=c,tls-hostname=localhost'],
  },
  keys: {
    qemu: () => ['--object', `tls-creds-psk,id=tls0,endpoint=server,dir=${own}`, '--tls-creds', 'tls0'],
    nbdkit: () => ['--tls=require', `--tls-psk=${own}/keys.psk`],
    uri: (dir) => `nbds+unix://qemu@/?socket=${socket}&tls-psk-file=${dir}/keys.psk`,
    client: (dir) => [`tls-creds-psk,id=c,endpoint=client,dir=${dir}`, ',tls-creds=c'],
  },
}

function dgNbd({ qemu }: Protection, ...words: readonly string[]): Promise<ServerProcess> {
  const all = [programs.script('dg-nbd'), '-t', '-f', 'raw', '-k', socket, ...qemu(), ...words, file('disk')]
  return ServerProcess.start(process.execPath, all, socket, folder)
}

/** Options of a client of QEMU's kind, or of ours, before and behind the words of its command. */
function qemuClient({ client }: Protection, dir: string): { before: string[]; image: string } {
  const [object, options] = client(dir)
  const before = object === undefined ? [] : ['--object', object]
  return {
    before,
    image: `driver=raw,file.driver=nbd,file.server.type=unix,file.server.path=${socket}${options.replaceAll(',', ',file.')}`,
  }
}

function dg(program: string, words: readonly string[]): Promise<ToolResult> {
  return runTool(process.execPath, [programs.script(program), ...words])
}

for (const [how, protection] of Object.entries(protections)) {
  describe(`dg-nbd in ${how}`, () => {
    const on = (tool: string, name: string, body: () => Promise<void>): void => {
      if (how !== 'plain text' && openssl.path === undefined) openssl.it(`${tool} ${name}`, body)
      else peer(tool, { describe, it: test }).it(`${tool} ${name}`, body, 30_000)
    }

    on('nbdinfo', 'is told the size and what the server can do', async () => {
      await using _server = await dgNbd(protection)
      const { stdout, stderr } = await runTool('nbdinfo', ['--json', protection.uri(own)])
      expect(stderr).toBe('')
      expect(JSON.parse(stdout)).toMatchObject({
        protocol: 'newstyle-fixed',
        TLS: how !== 'plain text',
        structured: true,
        exports: [{ 'export-size': size, is_read_only: false, can_df: true, can_fua: true, can_trim: true }],
      })
    })

    on('nbdinfo', 'is told of holes', async () => {
      await using _server = await dgNbd(protection)
      const { stdout } = await runTool('nbdinfo', ['--map', '--json', protection.uri(own)])
      expect((JSON.parse(stdout) as { length: number }[]).reduce((sum, { length }) => sum + length, 0)).toBe(size)
    })

    on('nbdcopy', 'copies the disk, and back', async () => {
      await using _server = await dgNbd(protection)
      expect(await runTool('nbdcopy', [protection.uri(own), file('copy')])).toMatchObject({ status: 0, stderr: '' })
      expect(readFileSync(file('copy')).equals(content)).toBe(true)
      const changed = Buffer.from(content).fill(9, 4096, 8192)
      writeFileSync(file('copy'), changed)
      expect(await runTool('nbdcopy', ['--flush', file('copy'), protection.uri(own)])).toMatchObject({ status: 0 })
      expect(readFileSync(file('disk')).equals(changed)).toBe(true)
      writeFileSync(file('disk'), content)
    })

    on('qemu-img', 'converts and compares the disk', async () => {
      await using _server = await dgNbd(protection)
      const { before, image } = qemuClient(protection, own)
      const convert = ['convert', ...before, '--image-opts', image, file('converted')]
      expect(await runTool('qemu-img', convert)).toMatchObject({ status: 0, stderr: '' })
      expect(readFileSync(file('converted')).equals(content)).toBe(true)
    })

    on('qemu-io', 'reads, writes, zeroes and trims', async () => {
      await using _server = await dgNbd(protection)
      const { before, image } = qemuClient(protection, own)
      const commands = [
        'read -P 7 2M 1M',
        'write -P 5 1M 64k',
        'read -P 5 1M 64k',
        'write -z -u 1M 64k',
        'discard 1M 4k',
        'flush',
      ]
      const words = [...before, '--image-opts', image, ...commands.flatMap((command) => ['-c', command])]
      const { status, stdout } = await runTool('qemu-io', words)
      expect([status, stdout]).toEqual([0, expect.not.stringMatching(/fail|error/i)])
      expect(readFileSync(file('disk')).equals(content)).toBe(true)
    })
  })

  for (const server of ['qemu-nbd', 'nbdkit']) {
    const real = peer(server, { describe, it: test })
    const it = how !== 'plain text' && openssl.path === undefined ? openssl.it : real.it
    it(`${server} in ${how} is converted, written and read by dg-img and dg-io`, async () => {
      writeFileSync(file('disk'), content)
      const words =
        server === 'qemu-nbd'
          ? ['-t', '-f', 'raw', '-k', socket, ...protection.qemu(), file('disk')]
          : ['-f', '-U', socket, ...protection.nbdkit(), 'file', file('disk')]
      // nbdkit leaves its socket behind, and does not begin where one is.
      rmSync(socket, { force: true })
      await using _server = await ServerProcess.start(server, words, socket, folder)
      const { before, image } = qemuClient(protection, own)
      const convert = ['convert', ...before, '--image-opts', image, file('ours')]
      expect(await dg('dg-img', convert)).toMatchObject({ status: 0, stderr: '' })
      expect(readFileSync(file('ours')).equals(content)).toBe(true)
      const commands = ['-c', 'write -P 5 1M 64k', '-c', 'flush', '-c', 'read -P 5 1M 64k']
      const { status, stdout } = await dg('dg-io', [...before, '--image-opts', image, ...commands])
      expect([status, stdout]).toEqual([0, expect.stringContaining('read 65536/65536 bytes')])
      expect(readFileSync(file('disk')).subarray(2 ** 20, 2 ** 20 + 65536)).toEqual(Buffer.alloc(65536, 5))
      writeFileSync(file('disk'), content)
    }, 30_000)
  }
}

describe('dg-nbd with TLS refuses a client', () => {
  const { certificates, keys } = protections
  const info = async (protection: Protection, dir: string): Promise<ToolResult> => {
    const { before, image } = qemuClient(protection, dir)
    return dg('dg-img', ['info', ...before, '--image-opts', image])
  }

  openssl.it('that speaks plain text', async () => {
    await using _server = await dgNbd(certificates)
    const { status, stderr } = await info(protections['plain text'], own)
    expect([status, stderr]).toEqual([1, expect.stringContaining('TLS negotiation required before option')])
  })

  openssl.it('that has no certificate, or one of another authority', async () => {
    await using server = await dgNbd(certificates)
    expect((await info(certificates, nameless)).status).toBe(1)
    expect((await info(certificates, foreign)).status).toBe(1)
    expect((await info(certificates, own)).status).toBe(0)
    expect(server.said).toContain('TLS handshake failed')
  })

  openssl.it('that has another key', async () => {
    await using server = await dgNbd(keys)
    expect((await info(keys, foreign)).status).toBe(1)
    expect((await info(keys, own)).status).toBe(0)
    expect(server.said).toContain('TLS handshake failed')
  })

  openssl.it('whose name is not the one that is let in', async () => {
    const words = ['--object', 'authz-simple,id=a,identity=CN=somebody', '--tls-authz', 'a']
    await using server = await dgNbd(certificates, ...words)
    expect((await info(certificates, own)).status).toBe(1)
    expect(server.said).toContain('TLS x509 authz check')
  })

  openssl.it('and a client refuses a server of another name', async () => {
    await using _server = await dgNbd(certificates)
    const { before, image } = qemuClient(certificates, own)
    const wrong = image.replace('tls-hostname=localhost', 'tls-hostname=elsewhere')
    const { stderr } = await dg('dg-img', ['info', ...before, '--image-opts', wrong])
    expect(stderr).toContain('Certificate does not match the hostname elsewhere')
  })
})
