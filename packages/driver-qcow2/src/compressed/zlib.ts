/** Raw deflate, as the platform has it. Readers accept any window, writers use the window that old readers expect. */
export interface Zlib {
  /** Inflates the start of `data` into exactly `size` bytes; rejects when the stream is damaged or shorter. */
  inflate(data: Uint8Array, size: number): Promise<Uint8Array>
  /**
   * The same on the caller's thread, for small clusters, where the platform has that once it is loaded: the caller
   * then does some of the work that other threads are busy with.
   */
  inflateHere?(data: Uint8Array, size: number): Uint8Array | undefined
  /** Compresses with a 4 KiB window; undefined when the result would not be shorter than `limit` bytes. */
  deflate(data: Uint8Array, limit: number): Promise<Uint8Array | undefined>
}
