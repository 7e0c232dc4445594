/** A guest under QEMU, in emulation: one virtio disk over NBD, a serial console as its voice, no network. */
import { type ChildProcess, spawn } from 'node:child_process'

/** Milliseconds after which a machine, or its storage, is ended: something hangs. */
export const timeLimit = 600_000

/** What a guest boots and reads. */
export interface MachineParts {
  readonly kernel: string
  readonly initramfs: string
  /** The unix socket of the NBD server; the export is called `disk`. */
  readonly socket: string
}

interface Waiter {
  fits(line: string): boolean
  resolve(line: string): void
  reject(error: Error): void
}

/** A machine that runs. Dispose of it. */
export class Machine {
  /** KiB that the guest has written to files. */
  writtenKib = 0
  readonly #child: ChildProcess
  readonly #lines: string[] = []
  readonly #waiters = new Set<Waiter>()
  #over: Error | undefined

  constructor({ kernel, initramfs, socket }: MachineParts, phase: 'write' | 'verify') {
    const disk = `if=virtio,format=raw,cache=none,discard=unmap,file.driver=nbd,file.path=${socket},file.export=disk`
    const args = [
      ...[
        '-accel',
        'tcg',
        '-cpu',
        'max',
        '-m',
        '512',
        '-display',
        'none',
        '-monitor',
        'none',
        '-nodefaults',
        '-no-reboot',
      ],
      ...['-serial', 'stdio', '-nic', 'none', '-kernel', kernel, '-initrd', initramfs],
      ...['-append', `console=ttyS0 quiet panic=-1 phase=${phase}`, '-drive', disk],
    ]
    this.#child = spawn('qemu-system-x86_64', args, { timeout: timeLimit, killSignal: 'SIGKILL' })
    let rest = ''
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        const lines = (rest + text).split(/\r*\n/)
        rest = lines.pop() ?? ''
        for (const line of lines) this.#hear(line)
      })
    }
    this.#child.on('error', (error) => this.#end(error))
    this.#child.on('close', () => this.#end(new Error(`the guest has ended:\n${this.#lines.slice(-20).join('\n')}`)))
  }

  /** The words of the next line `@word …`, without its first. */
  async next(word: string): Promise<string[]> {
    return (await this.#line((line) => line.startsWith(`@${word}`))).split(' ').slice(1)
  }

  /** Resolves when the guest has written `kib` more. */
  async progress(kib: number): Promise<void> {
    const goal = this.writtenKib + kib
    await this.#line(() => this.writtenKib >= goal)
  }

  /** Asks the guest to end its writing. */
  stop(): void {
    this.#child.stdin?.write('stop\n')
  }

  /** Resolves when the machine is off. */
  async off(): Promise<void> {
    if (this.#over === undefined) await this.#line(() => false).catch(() => undefined)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.off()
  }

  #line(fits: (line: string) => boolean): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.#over === undefined) this.#waiters.add({ fits, resolve, reject })
      else reject(this.#over)
    })
  }

  #hear(line: string): void {
    this.#lines.push(line)
    const [word, number] = line.split(' ')
    if (word === '@wrote') this.writtenKib = Number(number)
    for (const waiter of [...this.#waiters]) {
      if (word === '@failed') waiter.reject(new Error(`in the guest: ${this.#lines.slice(-20).join('\n')}`))
      else if (waiter.fits(line)) waiter.resolve(line)
      else continue
      this.#waiters.delete(waiter)
    }
  }

  #end(error: Error): void {
    this.#over ??= error
    for (const { reject } of this.#waiters) reject(this.#over)
    this.#waiters.clear()
  }
}
