/** What codecs do. */

/** Compresses and decompresses data whose length is known, as clusters of images are. */
export interface Codec {
  /**
   * Decompresses the start of `data` into exactly `size` bytes; what stands behind the stream does not matter. EIO when the
   * stream is damaged, shorter or longer; EINVAL for a `size` that is no whole number from 1, and for data that is none.
   */
  inflate(data: Uint8Array, size: number): Promise<Uint8Array>
  /**
   * The same on the caller's thread, where the platform has that and has loaded it: for small data, while other threads
   * are busy with more of it. Undefined where it is to be done elsewhere.
   */
  inflateHere?(data: Uint8Array, size: number): Uint8Array | undefined
  /** Compresses; undefined when the result would not be shorter than `limit` bytes. */
  deflate(data: Uint8Array, limit: number): Promise<Uint8Array | undefined>
}

/** A compression that is only read here. */
export interface Inflater {
  /** At most `size` bytes of a stream that is the whole of `data`; rejects when it is damaged, or comes to more. */
  inflate(data: Uint8Array, size: number): Promise<Uint8Array>
}

/** Deflate with zlib's header and sum (RFC 1950). */
export interface ZlibCodec extends Inflater {
  deflate(data: Uint8Array): Promise<Uint8Array>
}
