/** The driver on nginx, beside QEMU's own curl driver. */
import { spawnSync } from 'node:child_process'
import { mkdir, rename, utimes, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { Graph } from '@diskgraph/core'
import { http, https } from '@diskgraph/driver-http'
import { peer, runTool, type ServerProcess, TempFolder } from '@diskgraph/driver-testkit'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { mustRead } from '../../remote/test/must-read.ts'
import { type NginxSettings, startNginx } from './nginx.ts'
import { patternOf } from './server.ts'

const fixture = (name: string): string => fileURLToPath(new URL(`./fixtures/${name}.pem`, import.meta.url))
const content = patternOf(3_000_000)
const nginx = peer('nginx', { describe, it })
/** The curl driver of qemu-img is a package of its own (qemu-block-extra). */
const probe = spawnSync('qemu-img', ['info', '--image-opts', 'driver=http'], { encoding: 'utf8' })
const hasCurl = probe.stderr?.includes('curl block driver') === true
const qemu = peer(hasCurl ? 'qemu-img' : 'qemu-img with its curl driver', { describe, it })

let folder: TempFolder
let server: ServerProcess | undefined
let graph: Graph

beforeEach(async () => {
  graph = new Graph({ drivers: [http, https] })
  folder = await TempFolder.make()
  await mkdir(folder.file('root'))
  await writeFile(folder.file('root/disk.img'), content)
})

afterEach(async () => {
  await graph.close()
  // In order: a killed master leaves its worker behind.
  await server?.end('SIGTERM')
  await folder.remove()
})

async function start(settings: NginxSettings = {}): Promise<number> {
  const started = await startNginx(nginx.path as string, folder.path, settings)
  server = started.server
  return started.port
}

/** Reads all of it in order, and at random, eight at a time. */
async function readAll(definition: object): Promise<void> {
  await mustRead(await graph.addUnchecked({ ...definition }), content, 30)
}

nginx.describe('on nginx', () => {
  it('all of a file is read, in order and at random', async () => {
    const url = `http://127.0.0.1:${await start()}/disk.img`
    await readAll({ driver: 'http', url })
    await readAll({ driver: 'http', url, readahead: 0, connections: 4 })
  })

  it('so it is over TLS', async () => {
    const port = await start({
      listen: 'ssl',
      settings: [`ssl_certificate ${fixture('good')}; ssl_certificate_key ${fixture('server-key')};`],
    })
    await readAll({ driver: 'https', url: `https://localhost:${port}/disk.img`, ca: fixture('authority') })
  })

  it('a server that ends each connection after two requests, and is slow, loses nothing', async () => {
    const port = await start({ settings: ['location / { keepalive_requests 2; limit_rate 4m; }'] })
    await readAll({ driver: 'http', url: `http://127.0.0.1:${port}/disk.img` })
  })

  it('a password is asked for, and given', async () => {
    const hash = spawnSync('openssl', ['passwd', '-apr1', 'secret'], { encoding: 'utf8' }).stdout.trim()
    await writeFile(folder.file('users'), `me:${hash}\n`)
    const port = await start({ settings: [`auth_basic "disks"; auth_basic_user_file ${folder.file('users')};`] })
    const url = `http://127.0.0.1:${port}/disk.img`
    await expect(graph.add({ driver: 'http', url })).rejects.toMatchObject({ code: 'EACCES' })
    graph.addSecret('pw', 'secret')
    await readAll({ driver: 'http', url, username: 'me', passwordSecret: 'pw' })
  })

  it('a file that is replaced is noticed', async () => {
    const disk = await graph.add({ driver: 'http', url: `http://127.0.0.1:${await start()}/disk.img` })
    await writeFile(
      folder.file('root/new.img'),
      content.map((byte) => byte ^ 255),
    )
    // nginx makes its ETag of the size and the second of the last change.
    await utimes(folder.file('root/new.img'), 1, 1)
    await rename(folder.file('root/new.img'), folder.file('root/disk.img'))
    await expect(disk.read(2_000_000, new Uint8Array(10))).rejects.toMatchObject({ code: 'ESTALE' })
  })

  qemu.it('qemu-img reads the same', async () => {
    const url = `http://127.0.0.1:${await start()}/disk.img`
    const judged = await runTool('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', url, folder.file('root/disk.img')])
    expect(judged.stdout).toContain('Images are identical.')
    await readAll({ driver: 'http', url })
  })
})
