/** The drivers on vsftpd, beside QEMU's own curl driver. */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { Graph } from '@diskgraph/core'
import { ftp, ftps } from '@diskgraph/driver-ftp'
import { peer, runTool, ServerProcess, TempFolder } from '@diskgraph/driver-testkit'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { patternOf } from '../../driver-http/test/server.ts'
import { mustRead } from '../../remote/test/must-read.ts'

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../driver-http/test/fixtures/${name}.pem`, import.meta.url))
const content = patternOf(3_000_000)
const vsftpd = peer('vsftpd', { describe, it })
/** The curl driver of qemu-img is a package of its own (qemu-block-extra). */
const probe = spawnSync('qemu-img', ['info', '--image-opts', 'driver=ftp'], { encoding: 'utf8' })
const hasCurl = probe.stderr?.includes('curl block driver') === true
const qemu = peer(hasCurl ? 'qemu-img' : 'qemu-img with its curl driver', { describe, it })

const tlsSettings = [
  'ssl_enable=YES',
  'allow_anon_ssl=YES',
  'force_anon_logins_ssl=YES',
  'force_anon_data_ssl=YES',
  'require_ssl_reuse=YES',
  `rsa_cert_file=${fixture('good')}`,
  `rsa_private_key_file=${fixture('server-key')}`,
]

let folder: TempFolder
let running: ServerProcess | undefined
let graph = new Graph({ drivers: [ftp, ftps] })

beforeAll(async () => {
  folder = await TempFolder.make()
  await mkdir(folder.file('empty'), { mode: 0o555 })
  await mkdir(folder.file('root'), { mode: 0o755 })
  await writeFile(folder.file('root/disk.img'), content, { mode: 0o644 })
})

afterEach(async () => {
  await graph.close()
  await running?.end('SIGKILL')
})

afterAll(() => folder.remove())

async function start(settings: readonly string[]): Promise<number> {
  const port = await freePort()
  const lines = [
    'listen=YES',
    'listen_address=127.0.0.1',
    `listen_port=${port}`,
    'background=NO',
    'run_as_launching_user=YES',
    'anonymous_enable=YES',
    'no_anon_password=NO',
    'local_enable=NO',
    'seccomp_sandbox=NO',
    `anon_root=${folder.file('root')}`,
    `secure_chroot_dir=${folder.file('empty')}`,
    ...settings,
    '',
  ]
  await writeFile(folder.file('vsftpd.conf'), lines.join('\n'))
  running = await ServerProcess.start(vsftpd.path as string, [folder.file('vsftpd.conf')], { host: '127.0.0.1', port })
  graph = new Graph({ drivers: [ftp, ftps] })
  return port
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

/** Reads all of it in order, and at random, eight at a time. */
async function readAll(definition: object): Promise<void> {
  await mustRead(await graph.addUnchecked({ ...definition }), content, 12)
}

vsftpd.describe('on vsftpd', () => {
  it('all of a file is read, in order and at random', async () => {
    const port = await start([])
    await readAll({ driver: 'ftp', url: `ftp://127.0.0.1:${port}/disk.img` })
    await readAll({ driver: 'ftp', url: `ftp://127.0.0.1:${port}/disk.img`, readahead: 0, connections: 4 })
  })

  it.each(['implicit', 'explicit'] as const)('so it is over TLS, %s, which each connection resumes', async (way) => {
    const port = await start([...tlsSettings, `implicit_ssl=${way === 'implicit' ? 'YES' : 'NO'}`])
    const url = `ftps://localhost:${port}/disk.img`
    await readAll({ driver: 'ftps', url, tls: way, ca: fixture('authority') })
  })

  it('fewer sessions do where more are refused', async () => {
    const port = await start(['max_per_ip=1'])
    await readAll({ driver: 'ftp', url: `ftp://127.0.0.1:${port}/disk.img`, connections: 4, readahead: 4096 })
  })

  it('a file that is not there is not there', async () => {
    const port = await start([])
    const adding = graph.add({ driver: 'ftp', url: `ftp://127.0.0.1:${port}/none.img` })
    await expect(adding).rejects.toMatchObject({ code: 'ENOENT', message: expect.stringContaining('does not exist') })
  })

  qemu.it('dg-img and qemu-img read the same', async () => {
    const port = await start([])
    const url = `ftp://127.0.0.1:${port}/disk.img`
    const judged = await runTool('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', url, folder.file('root/disk.img')])
    expect(judged.stdout).toContain('Images are identical.')
    const disk = await graph.add({ driver: 'ftp', url })
    expect(disk.size).toBe(3_000_000)
    const buf = new Uint8Array(1000)
    await disk.read(2_999_000, buf)
    expect(buf).toEqual(content.subarray(2_999_000))
  })
})
