/** OpenSSH's server on a port of the loopback, with a home that knows it. */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { userInfo } from 'node:os'
import { findTool, ServerProcess, TempFolder } from '@diskgraph/driver-testkit'

/** A server that runs until it is closed. */
export class SshServer {
  readonly folder: TempFolder
  readonly port: number
  readonly user: string
  #process: ServerProcess

  private constructor(folder: TempFolder, port: number, process: ServerProcess) {
    this.folder = folder
    this.port = port
    this.user = userInfo().username
    this.#process = process
  }

  /** Starts one, and sets HOME to a folder with a key that it knows, and with its own in known_hosts. */
  static async start(settings: readonly string[] = []): Promise<SshServer> {
    const folder = await TempFolder.make()
    const home = folder.file('home')
    await mkdir(`${home}/.ssh`, { recursive: true })
    await chmod(home, 0o700)
    const makeKey = (file: string, type: string): void => {
      execFileSync('ssh-keygen', ['-q', '-t', type, '-N', '', '-f', file])
    }
    makeKey(folder.file('host'), 'ed25519')
    makeKey(folder.file('host-rsa'), 'rsa')
    makeKey(`${home}/.ssh/id_ed25519`, 'ed25519')
    const port = await freePort()
    await writeFile(
      folder.file('config'),
      [
        `Port ${port}`,
        'ListenAddress 127.0.0.1',
        `HostKey ${folder.file('host')}`,
        `HostKey ${folder.file('host-rsa')}`,
        `AuthorizedKeysFile ${home}/.ssh/id_ed25519.pub`,
        'StrictModes no',
        'UsePAM no',
        'PidFile none',
        'MaxStartups 100',
        'Subsystem sftp internal-sftp',
        ...settings,
        '',
      ].join('\n'),
    )
    // Where root starts sshd it wants this folder, which the service makes when it starts.
    if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true, mode: 0o755 })
    process.env.HOME = home
    delete process.env.SSH_AUTH_SOCK
    const server = new SshServer(folder, port, await SshServer.#run(folder, port))
    await server.know(await server.hostKey())
    return server
  }

  static #run(folder: TempFolder, port: number): Promise<ServerProcess> {
    const words = ['-D', '-e', '-f', folder.file('config')]
    return ServerProcess.start(findTool('sshd') as string, words, { host: '127.0.0.1', port })
  }

  /** Ends the server and all its sessions at once, and starts it again. */
  async restart(): Promise<void> {
    await this.stop()
    this.#process = await SshServer.#run(this.folder, this.port)
  }

  /** Ends the server and all its sessions at once. */
  async stop(): Promise<void> {
    const { pid } = this.#process.child
    const children = await processes()
    const end = (parent: number | undefined): void => {
      for (const [child, of] of children) {
        if (of !== parent) continue
        end(child)
        try {
          process.kill(child, 'SIGKILL')
        } catch {} // It has ended by itself.
      }
    }
    end(pid)
    await this.#process.end('SIGKILL')
  }

  /** Type and key of the server, as known_hosts has them. */
  async hostKey(file = 'host.pub'): Promise<string> {
    return (await readFile(this.folder.file(file), 'utf8')).split(' ').slice(0, 2).join(' ')
  }

  /** Makes known_hosts say that the server has this key. */
  async know(key: string, name = `[127.0.0.1]:${this.port}`): Promise<void> {
    await writeFile(this.folder.file('home/.ssh/known_hosts'), `# keys\n${name} ${key}\n`)
  }

  /** Options of a node. */
  definition(path: string) {
    return { driver: 'ssh', server: { host: '127.0.0.1', port: String(this.port) }, path, user: this.user } as const
  }

  async close(): Promise<void> {
    await this.stop()
    await this.folder.remove()
  }
}

/** All processes with their parents. */
async function processes(): Promise<readonly (readonly [number, number])[]> {
  const found: [number, number][] = []
  for (const name of await readdir('/proc')) {
    // The name of the program stands in brackets, and may hold anything.
    const stat = /^\d+$/.test(name) ? await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '') : ''
    const parent = /\) \S (\d+) [^)]*$/.exec(stat)?.[1]
    if (parent !== undefined) found.push([Number(name), Number(parent)])
  }
  return found
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as { port: number }
  probe.close()
  await once(probe, 'close')
  return port
}
