/** A file in memory that grows at its end. */
export class Content {
  readonly #chunks: Uint8Array[] = []
  size = 0

  append(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const within = this.size % chunkSize
      if (within === 0) this.#chunks.push(new Uint8Array(chunkSize))
      const length = Math.min(bytes.length - done, chunkSize - within)
      this.#chunks.at(-1)?.set(bytes.subarray(done, done + length), within)
      done += length
      this.size += length
    }
  }

  /** Fills `buf` from `offset`; all of it lies within the file. */
  read(offset: number, buf: Uint8Array): void {
    for (let done = 0; done < buf.length; ) {
      const at = offset + done
      const within = at % chunkSize
      const length = Math.min(buf.length - done, chunkSize - within)
      const chunk = this.#chunks[Math.floor(at / chunkSize)] as Uint8Array
      buf.set(chunk.subarray(within, within + length), done)
      done += length
    }
  }
}

const chunkSize = 2 ** 18
