import { abortedError, type OpenImage, type Prepared, type ReopenChange } from '@diskgraph/core/driver'
import { opfsError } from './errors.ts'
import type { OpfsFile, OpfsMode } from './opfs-file.ts'
import { openStreamFile } from './stream-file.ts'
import { openSyncFile } from './sync-file.ts'
import { openWorkerFile } from './worker-file.ts'

/** An open file of the origin private file system. */
export class OpfsImage implements OpenImage {
  readonly identity: string
  size: number
  readonly #path: string
  readonly #handle: FileSystemFileHandle
  #file: OpfsFile
  #mode: OpfsMode

  private constructor(path: string, handle: FileSystemFileHandle, file: OpfsFile, mode: OpfsMode) {
    this.identity = `opfs:${path}`
    this.size = file.size
    this.#path = path
    this.#handle = handle
    this.#file = file
    this.#mode = mode
  }

  static async open(path: string, handle: FileSystemFileHandle, readOnly: boolean): Promise<OpfsImage> {
    const mode = readOnly ? 'read-only' : 'readwrite'
    return new OpfsImage(path, handle, await openFile(path, handle, mode), mode)
  }

  read(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    return this.#do('read', () => this.#file.read(offset, buf), signal)
  }

  async write(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    await this.#do('write', () => this.#file.write(offset, buf), signal)
    this.size = Math.max(this.size, offset + buf.length)
  }

  flush(signal?: AbortSignal): Promise<void> {
    return this.#do('flush', () => this.#file.flush(), signal)
  }

  async truncate(size: number): Promise<void> {
    await this.#do('resize', () => this.#file.truncate(size))
    this.size = size
  }

  close(): Promise<void> {
    return this.#do('close', () => this.#file.close())
  }

  /** To write, the file has to be let go of and taken anew; to read, the handle that can write stays. */
  async reopen({ readOnly }: ReopenChange): Promise<Prepared> {
    if (!readOnly && this.#mode === 'read-only') {
      await this.close()
      try {
        this.#file = await openFile(this.#path, this.#handle, 'readwrite')
        this.#mode = 'readwrite'
      } catch (error) {
        this.#file = await openFile(this.#path, this.#handle, 'read-only')
        throw error
      }
    }
    return { commit: () => undefined, abort: () => undefined }
  }

  async #do(what: string, work: () => Promise<void>, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) throw abortedError(signal)
    try {
      await work()
    } catch (cause) {
      throw opfsError(`cannot ${what} '${this.#path}'`, cause)
    }
  }
}

async function openFile(path: string, handle: FileSystemFileHandle, mode: OpfsMode): Promise<OpfsFile> {
  try {
    return (await openSyncFile(handle, mode)) ?? (await openWorkerFile(handle, mode)) ?? (await openStreamFile(handle))
  } catch (cause) {
    throw opfsError(`Could not open '${path}'`, cause)
  }
}
