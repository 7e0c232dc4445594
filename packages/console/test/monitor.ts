import { Duplex } from 'node:stream'

/** What a monitor answers: by command, given its arguments. A string is an error. */
export type Answers = Readonly<Record<string, (args: Record<string, unknown>) => unknown>>

/** A QMP monitor that remembers what it was told to do. */
export class FakeMonitor {
  readonly commands: { readonly execute: string; readonly arguments?: Record<string, unknown> }[] = []
  readonly streams = new Set<Duplex>()
  readonly #answers: Answers

  constructor(answers: Answers) {
    this.#answers = answers
  }

  connect(): Duplex {
    let rest = ''
    const stream: Duplex = new Duplex({
      read() {},
      write: (chunk: Buffer, _encoding, done) => {
        rest += chunk.toString()
        const lines = rest.split('\n')
        rest = lines.pop() ?? ''
        for (const line of lines) stream.push(`${JSON.stringify(this.#answer(JSON.parse(line)))}\n`)
        done()
      },
      final(done) {
        this.push(null)
        done()
      },
    })
    this.streams.add(stream)
    stream.on('close', () => this.streams.delete(stream))
    const version = { package: 'fake', qemu: { major: 7, minor: 2, micro: 22 } }
    stream.push(`${JSON.stringify({ QMP: { version, capabilities: [] } })}\n`)
    return stream
  }

  tell(event: string, data: unknown): void {
    const timestamp = { seconds: 1, microseconds: 2 }
    for (const stream of this.streams) stream.push(`${JSON.stringify({ event, data, timestamp })}\n`)
  }

  #answer(command: { execute: string; arguments?: Record<string, unknown>; id?: number }): unknown {
    const { id, execute } = command
    this.commands.push(command)
    const answer = execute === 'qmp_capabilities' ? {} : this.#answers[execute]?.(command.arguments ?? {})
    if (answer === undefined || typeof answer === 'string') {
      return { id, error: { class: 'GenericError', desc: answer ?? 'The command has not been found' } }
    }
    return { id, return: answer }
  }
}
