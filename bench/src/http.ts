/** Images on nginx, read by our http driver and by QEMU's curl driver. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { symlinkSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import type { Images } from './data.ts'
import type { Command } from './measure.ts'
import type { Row } from './rows.ts'

/** The rows, and what ends the server that they need. */
interface HttpRows {
  readonly rows: readonly Row[]
  end(): Promise<void>
}

/** Starts nginx in `folder`; `img` is our program. Undefined where nginx is not installed. */
export async function httpRows(img: Command, images: Images, folder: string): Promise<HttpRows | undefined> {
  const port = await freePort()
  writeFileSync(join(folder, 'nginx.conf'), configuration(folder, port))
  symlinkSync(images.raw, join(folder, 'served.raw'))
  const server = spawn('nginx', ['-c', join(folder, 'nginx.conf'), '-p', folder, '-e', 'stderr'], { stdio: 'ignore' })
  let ended = false
  server.on('error', () => (ended = true))
  server.on('exit', () => (ended = true))
  while (!ended && !(await answers(port))) await new Promise((resolve) => setTimeout(resolve, 20))
  if (ended) return undefined
  const url = `http://127.0.0.1:${port}/served.raw`
  const same = (name: string, ...args: string[]): Row => ({
    name: `http: ${name}`,
    goal: 1,
    net: true,
    ours: [...img, ...args],
    theirs: ['qemu-img', ...args],
  })
  // One at a time: QEMU 7.2 may wait for ever with more than eight.
  const read = (count: number, size: string, step: string): string[] => [
    'bench',
    '-c',
    String(count),
    '-d',
    '1',
    '-s',
    size,
    '-S',
    step,
    '-f',
    'raw',
    url,
  ]
  return {
    rows: [
      same('4 KiB reads, scattered', ...read(2000, '4096', '1052672')),
      same('1 MiB reads, sequential', ...read(400, '1M', '1M')),
    ],
    async end() {
      const closed = once(server, 'close')
      server.kill('SIGTERM')
      await closed
    },
  }
}

function configuration(folder: string, port: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (one) => `${one}_temp_path ${folder}/temp;`,
  )
  return [
    // Where root starts it, it would read as somebody else.
    process.getuid?.() === 0 ? 'user root;' : '',
    'daemon off; worker_processes 1; error_log stderr; pid nginx.pid;',
    'events {}',
    'http { access_log off; sendfile on; keepalive_requests 1000000;',
    ...temporary,
    `server { listen 127.0.0.1:${port}; root ${folder}; }`,
    '}',
    '',
  ].join('\n')
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(port, '127.0.0.1', () => {
      probe.destroy()
      resolve(true)
    })
    probe.on('error', () => resolve(false))
  })
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as { port: number }
  probe.close()
  await once(probe, 'close')
  return port
}
