/** Servers as processes of their own: dg-nbd, qemu-nbd, nbdkit, sshd. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'

/** The path of a unix socket, or a port. */
export type ServerSocket = string | { readonly host: string; readonly port: number }

/** A server that runs until it is ended. */
export class ServerProcess {
  readonly child: ChildProcess
  #said = ''

  private constructor(program: string, words: readonly string[], cwd: string | undefined) {
    this.child = spawn(program, words, { cwd, stdio: ['ignore', 'ignore', 'pipe'] })
    this.child.stderr?.on('data', (text) => {
      this.#said += String(text)
    })
  }

  /** Starts a program in `cwd`, and waits until its socket answers. */
  static async start(
    program: string,
    words: readonly string[],
    socket: ServerSocket,
    cwd?: string,
  ): Promise<ServerProcess> {
    const server = new ServerProcess(program, words, cwd)
    while (!(await answers(socket))) {
      if (server.child.exitCode !== null) throw new Error(`${program} ended: ${server.said}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    return server
  }

  /** Its messages so far. */
  get said(): string {
    return this.#said
  }

  /** Sends a signal, unless it has ended already; the exit code, or the name of the signal that ended it. */
  async end(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | string | null> {
    const { exitCode, signalCode } = this.child
    if (exitCode !== null || signalCode !== null) return exitCode ?? signalCode
    const closed = once(this.child, 'close')
    this.child.kill(signal)
    const [code, by] = await closed
    return code ?? by
  }

  /** In order, so that it takes its socket away. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.end('SIGTERM')
  }
}

/** Whether a server answers at a socket. */
export function answers(socket: ServerSocket): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(typeof socket === 'string' ? { path: socket } : socket, () => {
      probe.destroy()
      resolve(true)
    })
    probe.on('error', () => resolve(false))
  })
}
