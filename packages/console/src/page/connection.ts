/** QMP over a WebSocket: commands with their answers, and events. */

/** Arguments of a command, and what it returns, as the wire has them. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json | undefined }

/** An event of the monitor. */
export interface QmpEvent {
  readonly event: string
  readonly data?: { readonly [name: string]: Json }
  readonly timestamp: { readonly seconds: number; readonly microseconds: number }
}

/** What a connection tells its owner. */
interface Listener {
  /** The monitor takes commands; `greeting` is its version. */
  onOpen(greeting: Json): void
  onEvent(event: QmpEvent): void
  onClose(): void
}

interface Waiting {
  readonly resolve: (value: Json) => void
  readonly reject: (error: Error) => void
}

interface Message {
  readonly QMP?: { readonly version: Json }
  readonly id?: number
  readonly return?: Json
  readonly error?: { readonly class: string; readonly desc: string }
  readonly event?: string
}

/** One connection; when it has ended, make another. */
export class Connection {
  readonly #socket: WebSocket
  readonly #listener: Listener
  readonly #waiting = new Map<number, Waiting>()
  #count = 0

  constructor(token: string, listener: Listener) {
    this.#listener = listener
    this.#socket = new WebSocket(`ws://${location.host}/qmp`, ['diskgraph.qmp', `diskgraph.token.${token}`])
    this.#socket.onmessage = ({ data }) => this.#receive(String(data))
    this.#socket.onclose = () => this.#end()
  }

  /** Runs a command. Rejects with the monitor's words, or when the connection ends. */
  execute(command: string, args?: { readonly [name: string]: Json | undefined }): Promise<Json> {
    return new Promise((resolve, reject) => {
      if (this.#socket.readyState !== WebSocket.OPEN) return reject(new Error('not connected'))
      const id = ++this.#count
      this.#waiting.set(id, { resolve, reject })
      this.#socket.send(JSON.stringify({ execute: command, arguments: args, id }))
    })
  }

  close(): void {
    this.#socket.close()
  }

  #receive(text: string): void {
    const message = JSON.parse(text) as Message
    if (message.event !== undefined) this.#listener.onEvent(message as unknown as QmpEvent)
    else if (message.QMP !== undefined) void this.#negotiate(message.QMP.version)
    else if (message.id !== undefined) this.#answer(message.id, message)
  }

  #answer(id: number, { error, return: value = null }: Message): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error === undefined) waiting?.resolve(value)
    else waiting?.reject(new Error(error.desc))
  }

  async #negotiate(version: Json): Promise<void> {
    try {
      await this.execute('qmp_capabilities')
      this.#listener.onOpen(version)
    } catch {
      this.close()
    }
  }

  #end(): void {
    for (const { reject } of this.#waiting.values()) reject(new Error('the connection ended'))
    this.#waiting.clear()
    this.#listener.onClose()
  }
}
