/**
 * A file by its synchronous access handle: what a dedicated worker has, the fastest way that there is. The same handles
 * serve pages through a worker of the driver's own, `worker-file.ts`.
 */
import { mustBeRead, mustBeWritten, type OpfsFile, type OpfsMode } from './opfs-file.ts'

/** The browser's handle (FileSystemSyncAccessHandle of the File System Standard). */
interface SyncHandle {
  getSize(): number
  read(buf: Uint8Array, options: { at: number }): number
  write(bytes: Uint8Array, options: { at: number }): number
  truncate(size: number): void
  flush(): void
  close(): void
}

type Opens = FileSystemFileHandle & {
  createSyncAccessHandle?(options: { mode: OpfsMode }): Promise<SyncHandle>
}

/** Undefined where only workers may have such handles, and this is none. */
export async function openSyncFile(file: FileSystemFileHandle, mode: OpfsMode): Promise<OpfsFile | undefined> {
  const { createSyncAccessHandle } = file as Opens
  const handle = await createSyncAccessHandle?.call(file, { mode })
  return handle === undefined ? undefined : new SyncFile(handle)
}

class SyncFile implements OpfsFile {
  readonly size: number
  readonly #handle: SyncHandle

  constructor(handle: SyncHandle) {
    this.#handle = handle
    this.size = handle.getSize()
  }

  async read(offset: number, buf: Uint8Array): Promise<void> {
    mustBeRead(this.#handle.read(buf, { at: offset }), buf.length)
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    mustBeWritten(this.#handle.write(bytes, { at: offset }), bytes.length)
  }

  async truncate(size: number): Promise<void> {
    this.#handle.truncate(size)
  }

  async flush(): Promise<void> {
    this.#handle.flush()
  }

  async close(): Promise<void> {
    this.#handle.close()
  }
}
