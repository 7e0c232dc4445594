/** Files of a page: their access handles stand in one worker, which is there while a file is open. */
import { BlockError } from '@diskgraph/core/driver'
import { mustBeRead, mustBeWritten, type OpfsFile, type OpfsMode } from './opfs-file.ts'
import { workerSource } from './worker-source.ts'

interface Answer {
  readonly call: number
  readonly value?: unknown
  readonly error?: { readonly name: string; readonly message: string }
}

interface Waiting {
  resolve(value: never): void
  reject(error: unknown): void
}

/** The worker, as calls that are answered. */
class HandleWorker {
  readonly #worker: Worker
  readonly #url: string
  readonly #waiting = new Map<number, Waiting>()
  #calls = 0
  #users = 0
  #failure: BlockError | undefined

  /** Of a program at `url`, which it gives back at its end. */
  constructor(worker: Worker, url: string) {
    this.#worker = worker
    this.#url = url
    worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      const waiting = this.#waiting.get(data.call)
      this.#waiting.delete(data.call)
      if (data.error === undefined) waiting?.resolve(data.value as never)
      else waiting?.reject(data.error)
    }
    worker.onerror = ({ message = '' }) => this.#fail(message)
    worker.onmessageerror = () => this.#fail('a message could not be read')
  }

  get failed(): boolean {
    return this.#failure !== undefined
  }

  call<T>(name: string, given: object, transfer: Transferable[] = []): Promise<T> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    return new Promise<T>((resolve, reject) => {
      const call = ++this.#calls
      this.#waiting.set(call, { resolve, reject })
      this.#worker.postMessage({ call, name, ...given }, transfer)
    })
  }

  enter(): void {
    this.#users++
  }

  /** The last one out ends the worker. */
  leave(): void {
    if (--this.#users > 0) return
    this.#worker.terminate()
    URL.revokeObjectURL(this.#url)
    if (current === this) current = undefined
  }

  #fail(reason: string): void {
    this.#failure = new BlockError(
      'EIO',
      `the worker that holds the files has failed: ${reason || 'it was not let in'}`,
    )
    for (const { reject } of this.#waiting.values()) reject(this.#failure)
    this.#waiting.clear()
  }
}

let current: HandleWorker | undefined

/** Undefined where no worker can be made: another worker, or a page whose policy has no `worker-src blob:`. */
export async function openWorkerFile(file: FileSystemFileHandle, mode: OpfsMode): Promise<OpfsFile | undefined> {
  current ??= startWorker()
  const worker = current
  if (worker === undefined) return undefined
  worker.enter()
  try {
    const { id, size } = await worker.call<{ id: number; size: number }>('open', { file, mode })
    return new WorkerFile(worker, id, size)
  } catch (error) {
    worker.leave()
    if (worker.failed) return undefined
    throw error
  }
}

function startWorker(): HandleWorker | undefined {
  if (typeof Worker === 'undefined') return undefined
  const url = URL.createObjectURL(new Blob([workerSource], { type: 'text/javascript' }))
  try {
    return new HandleWorker(new Worker(url), url)
  } catch {
    URL.revokeObjectURL(url)
    return undefined
  }
}

class WorkerFile implements OpfsFile {
  readonly size: number
  readonly #worker: HandleWorker
  readonly #id: number

  constructor(worker: HandleWorker, id: number, size: number) {
    this.#worker = worker
    this.#id = id
    this.size = size
  }

  async read(offset: number, buf: Uint8Array): Promise<void> {
    const given = { id: this.#id, offset, length: buf.length }
    const read = await this.#worker.call<{ buf: Uint8Array; count: number }>('read', given)
    mustBeRead(read.count, buf.length)
    buf.set(read.buf)
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    const bytes = data.slice()
    const { count } = await this.#worker.call<{ count: number }>('write', { id: this.#id, offset, bytes }, [
      bytes.buffer,
    ])
    mustBeWritten(count, data.length)
  }

  truncate(size: number): Promise<void> {
    return this.#worker.call('truncate', { id: this.#id, size })
  }

  flush(): Promise<void> {
    return this.#worker.call('flush', { id: this.#id })
  }

  async close(): Promise<void> {
    try {
      await this.#worker.call('close', { id: this.#id })
    } finally {
      this.#worker.leave()
    }
  }
}
