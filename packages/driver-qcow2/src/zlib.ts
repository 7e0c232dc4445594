/** Raw deflate, as the platform has it. Readers accept any window, writers use the window that old readers expect. */
export interface Zlib {
  /** Inflates the start of `data` into exactly `size` bytes; rejects when the stream is damaged or shorter. */
  inflate(data: Uint8Array, size: number): Promise<Uint8Array>
  /** Compresses with a 4 KiB window; undefined when the result would not be shorter than `limit` bytes. */
  deflate(data: Uint8Array, limit: number): Promise<Uint8Array | undefined>
}
