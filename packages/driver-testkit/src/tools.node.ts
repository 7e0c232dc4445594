import { type ChildProcessWithoutNullStreams, execFile, spawn } from 'node:child_process'
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PagedFile } from './paged-file.ts'

/** How a program ended. */
export interface ToolResult {
  /** Exit status; 128 + n when signal n ended it, -1 when it was stopped for taking too long. */
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end. Never rejects: a program that cannot start has status 127. */
export function runTool(tool: string, args: readonly string[], timeoutMs = 20_000): Promise<ToolResult> {
  return new Promise((resolve) => {
    const options = { timeout: timeoutMs, maxBuffer: 2 ** 28, killSignal: 'SIGKILL' as const }
    execFile(tool, args, options, (error, stdout, stderr) => {
      const { code, killed } = (error ?? { code: 0, killed: false }) as { code?: number | string; killed?: boolean }
      const status = killed ? -1 : typeof code === 'number' ? code : error === null ? 0 : 127
      resolve({ status, stdout, stderr })
    })
  })
}

/** A folder of its own for a test, which {@link TempFolder.remove} takes away. */
export class TempFolder {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  static async make(): Promise<TempFolder> {
    return new TempFolder(await mkdtemp(join(tmpdir(), 'diskgraph-')))
  }

  /** The path of `name` inside. */
  file(name: string): string {
    return join(this.path, name)
  }

  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.remove()
  }
}

/** Writes a file in memory to the disk, holes included. */
export function storeFile(path: string, file: PagedFile): void {
  const fd = openSync(path, 'w')
  try {
    for (const { offset, bytes } of file.storedPages()) writeSync(fd, bytes, 0, bytes.length, offset)
    ftruncateSync(fd, file.size)
  } finally {
    closeSync(fd)
  }
}

/** Reads a file from the disk into memory. */
export function loadFile(path: string): PagedFile {
  return PagedFile.from(readFileSync(path))
}

const prompt = 'qemu-io> '

/**
 * A long-lived qemu-io that is fed one line at a time: it polls its input, not what it has buffered of it, so a
 * second line would wait for a third. Its two outputs are one, line-buffered; every answer ends with the prompt.
 */
export class QemuIo {
  readonly #child: ChildProcessWithoutNullStreams
  #output = ''
  #wake: (() => void) | undefined
  #ended = false
  #ready: Promise<unknown>

  constructor(args: readonly string[]) {
    this.#child = spawn('sh', ['-c', 'exec stdbuf -oL -eL qemu-io "$@" 2>&1', 'sh', ...args])
    this.#child.stdout.setEncoding('utf8')
    this.#child.stdout.on('data', (text: string) => {
      this.#output += text
      this.#wake?.()
    })
    this.#child.on('close', () => {
      this.#ended = true
      this.#wake?.()
    })
    this.#child.on('error', () => undefined)
    this.#child.stdin.on('error', () => undefined)
    this.#ready = this.#answer('(start)')
    this.#ready.catch(() => undefined)
  }

  /** Runs one command and returns what it prints, without timings. Rejects when qemu-io is gone. */
  async command(line: string): Promise<string> {
    await this.#ready
    this.#output = ''
    this.#child.stdin.write(`${line}\n`)
    const answer = await this.#answer(line)
    return answer
      .split('\n')
      .filter((text) => text !== '' && !/ ops; \d+/.test(text))
      .join('\n')
  }

  /** Ends the program, which closes its image. */
  async close(): Promise<void> {
    this.#child.stdin.end('quit\n')
    while (!this.#ended) await this.#event()
  }

  async #answer(line: string): Promise<string> {
    const deadline = Date.now() + 20_000
    while (!this.#output.endsWith(prompt)) {
      if (this.#ended) throw new Error(`qemu-io ended at '${line}': ${this.#output}`)
      if (Date.now() > deadline) {
        this.#child.kill('SIGKILL')
        throw new Error(`qemu-io does not answer '${line}': ${this.#output}`)
      }
      await this.#event()
    }
    return this.#output.slice(0, -prompt.length)
  }

  #event(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, 1000)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
