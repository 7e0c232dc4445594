/**
 * A file where no access handle is to be had (a service worker, a page that may have no workers). What is written goes
 * to a copy that the browser makes of the whole file, and is the file's content from the next flush or read on: right,
 * and slow.
 */
import { BlockError } from '@diskgraph/core/driver'
import type { OpfsFile } from './opfs-file.ts'

/** Rejects with ENOTSUP where the browser has no streams to files either. */
export async function openStreamFile(file: FileSystemFileHandle): Promise<OpfsFile> {
  if (file.createWritable === undefined) {
    throw new BlockError('ENOTSUP', 'this browser writes private files in workers only', {
      hint: "allow the page's policy 'worker-src blob:', or open the image in a worker",
    })
  }
  return new StreamFile(file, (await file.getFile()).size)
}

class StreamFile implements OpfsFile {
  readonly size: number
  readonly #file: FileSystemFileHandle
  /** What the file holds; asked for again when it was written to. */
  #content: Promise<File> | undefined
  #copy: FileSystemWritableFileStream | undefined
  /** The end of all that was begun: one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(file: FileSystemFileHandle, size: number) {
    this.#file = file
    this.size = size
  }

  read(offset: number, buf: Uint8Array): Promise<void> {
    return this.#inTurn(async () => {
      await this.#commit()
      this.#content ??= this.#file.getFile()
      const bytes = await (await this.#content).slice(offset, offset + buf.length).arrayBuffer()
      if (bytes.byteLength < buf.length) throw new BlockError('EIO', 'the file is shorter than it was')
      buf.set(new Uint8Array(bytes))
    })
  }

  write(position: number, bytes: Uint8Array): Promise<void> {
    return this.#change((copy) => copy.write({ type: 'write', position, data: bytes as Uint8Array<ArrayBuffer> }))
  }

  truncate(size: number): Promise<void> {
    return this.#change((copy) => copy.truncate(size))
  }

  flush(): Promise<void> {
    return this.#inTurn(() => this.#commit())
  }

  close(): Promise<void> {
    return this.flush()
  }

  #change(work: (copy: FileSystemWritableFileStream) => Promise<void>): Promise<void> {
    return this.#inTurn(async () => {
      this.#copy ??= await this.#file.createWritable({ keepExistingData: true })
      await work(this.#copy)
    })
  }

  async #commit(): Promise<void> {
    const copy = this.#copy
    if (copy === undefined) return
    this.#copy = undefined
    this.#content = undefined
    await copy.close()
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work)
    this.#last = result.catch(() => {})
    return result
  }
}
