/** Round trips of QMP: the same questions to both daemons, in turn, one after the answer to the one before. */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { median } from './measure.ts'

/** What a daemon needed for one question, in microseconds. */
interface Cost {
  readonly wall: number
  readonly cpu: number
}

/** Both, for one command. */
interface RoundTrip {
  readonly command: string
  readonly ours: Cost
  readonly theirs: Cost
}

const commands = ['query-version', 'query-block-jobs', 'query-named-block-nodes']
const [questions, rounds] = [2000, 7]

/** Asks both daemons, which are started and ended here, in files of `folder`. */
export async function measureQmp(folder: string): Promise<RoundTrip[]> {
  const own = fileURLToPath(new URL('../../apps/storage-daemon/bin/dg-storage-daemon.js', import.meta.url))
  const daemons = [
    await Daemon.start([process.execPath, own], join(folder, 'ours.sock')),
    await Daemon.start(['qemu-storage-daemon'], join(folder, 'theirs.sock')),
  ] as const
  try {
    const results: RoundTrip[] = []
    for (const command of commands) {
      const costs: [Cost[], Cost[]] = [[], []]
      for (const daemon of daemons) await daemon.ask(command)
      for (let i = 0; i < rounds; i++) {
        for (const [which, daemon] of daemons.entries()) costs[which]?.push(await daemon.ask(command))
      }
      const [ours, theirs] = costs.map(middle) as [Cost, Cost]
      results.push({ command, ours, theirs })
    }
    return results
  } finally {
    for (const daemon of daemons) daemon.end()
  }
}

function middle(costs: readonly Cost[]): Cost {
  return { wall: median(costs.map(({ wall }) => wall)), cpu: median(costs.map(({ cpu }) => cpu)) }
}

class Daemon {
  readonly #child: ChildProcess
  readonly #socket: Socket
  #answered: () => void = () => undefined

  private constructor(child: ChildProcess, socket: Socket) {
    this.#child = child
    this.#socket = socket
    socket.on('data', (chunk) => {
      // Each answer is one line, and the last byte of it ends what was sent.
      if (chunk.at(-1) === 0x0a) this.#answered()
    })
  }

  static async start([program, ...words]: readonly string[], path: string): Promise<Daemon> {
    const node = { driver: 'null-co', 'node-name': 'disk', size: 2 ** 20 }
    const chardev = ['--chardev', `socket,id=c,path=${path},server=on,wait=off`, '--monitor', 'c']
    const child = spawn(program as string, [...words, '--blockdev', JSON.stringify(node), ...chardev], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    for (;;) {
      const socket = await new Promise<Socket | undefined>((resolve) => {
        const attempt = connect(path, () => resolve(attempt))
        attempt.on('error', () => resolve(undefined))
      })
      if (socket === undefined && child.exitCode !== null) throw new Error(`${program} has ended`)
      if (socket === undefined) {
        await new Promise((resolve) => setTimeout(resolve, 20))
        continue
      }
      const daemon = new Daemon(child, socket)
      await daemon.#answer()
      await daemon.#question('qmp_capabilities')
      return daemon
    }
  }

  async ask(command: string): Promise<Cost> {
    const cpu = this.#ticks()
    const start = performance.now()
    for (let i = 0; i < questions; i++) await this.#question(command)
    const wall = ((performance.now() - start) * 1000) / questions
    return { wall, cpu: ((this.#ticks() - cpu) * 10_000) / questions }
  }

  end(): void {
    this.#socket.destroy()
    this.#child.kill()
  }

  #question(command: string): Promise<void> {
    const answer = this.#answer()
    this.#socket.write(`{"execute": "${command}"}\n`)
    return answer
  }

  #answer(): Promise<void> {
    return new Promise((resolve) => {
      this.#answered = resolve
    })
  }

  /** Time of the processor, in hundredths of a second. */
  #ticks(): number {
    const fields = readFileSync(`/proc/${this.#child.pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ')
    return Number(fields[11]) + Number(fields[12])
  }
}
