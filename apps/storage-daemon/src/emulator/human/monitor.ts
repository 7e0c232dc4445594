/** A human monitor on a pair of streams: a prompt, lines with an echo, answers. */
import type { Readable, Writable } from 'node:stream'

const longestLine = 65536

/** See the top of the file. Lines run one after the other, the first when `ready` is resolved. */
export class HumanMonitor {
  readonly #output: Writable
  readonly #run: (line: string) => Promise<string>
  #last: Promise<void>
  #rest = ''
  #ended = false

  constructor(
    streams: { readonly input: Readable; readonly output: Writable },
    version: string,
    run: (line: string) => Promise<string>,
    ready: Promise<void>,
  ) {
    this.#output = streams.output
    this.#run = run
    this.#last = ready
    this.#write(`QEMU ${version} monitor - type 'help' for more information\r\n(qemu) `)
    streams.input.setEncoding('utf8')
    streams.input.on('data', (text: string) => this.#receive(text))
    streams.input.on('error', () => this.end())
  }

  /** Nothing is written any more. */
  end(): void {
    this.#ended = true
  }

  #receive(text: string): void {
    const lines = (this.#rest + text).split('\n')
    this.#rest = (lines.pop() ?? '').slice(0, longestLine)
    for (const line of lines) {
      // A failed start ends the program: its lines are not run.
      this.#last = this.#last.then(() => this.#take(line.replace(/\r$/, ''))).catch(() => undefined)
    }
  }

  async #take(line: string): Promise<void> {
    if (this.#ended) return
    this.#write(`${line}\r\n`)
    const told = await this.#run(line)
    if (!this.#ended) this.#write(`${told}(qemu) `)
  }

  #write(text: string): void {
    if (!this.#ended) this.#output.write(text)
  }
}
