/** nginx on loopback, serving a folder by HTTP, TLS and with limits, as Debian has it. */
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { ServerProcess } from '@diskgraph/driver-testkit'

/** What a server does otherwise. */
export interface NginxSettings {
  /** More words of `listen`. */
  readonly listen?: string
  /** Directives of the server. */
  readonly settings?: readonly string[]
}

/** Starts `program` (nginx) in `folder`, which gets its configuration and has what it serves in `root`; its port. */
export async function startNginx(
  program: string,
  folder: string,
  { listen = '', settings = [] }: NginxSettings = {},
): Promise<{ readonly server: ServerProcess; readonly port: number }> {
  const port = await freePort()
  await mkdir(join(folder, 'root'), { recursive: true })
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (one) => `${one}_temp_path ${folder}/temp;`,
  )
  const lines = [
    // Where root starts it, it would read as somebody else.
    ...(process.getuid?.() === 0 ? ['user root;'] : []),
    'daemon off; worker_processes 1; error_log stderr; pid nginx.pid;',
    'events {}',
    'http { access_log off; sendfile on; keepalive_requests 100000;',
    ...temporary,
    `server { listen 127.0.0.1:${port} ${listen}; root ${folder}/root;`,
    ...settings,
    '} }',
    '',
  ]
  const file = join(folder, 'nginx.conf')
  await writeFile(file, lines.join('\n'))
  const words = ['-c', file, '-p', folder, '-e', 'stderr']
  return { server: await ServerProcess.start(program, words, { host: '127.0.0.1', port }), port }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as { port: number }
  probe.close()
  await once(probe, 'close')
  return port
}
