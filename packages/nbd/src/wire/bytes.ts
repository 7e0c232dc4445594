/** Integers and texts in the bytes of a message. 64-bit integers are split, as the hot path has no BigInt. */

/** The 16-bit integer at `at`. */
export function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number)
}

/** The 32-bit integer at `at`. */
export function u32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  )
}

/** The 64-bit integer at `at`; not exact above 2^53. */
export function u64(bytes: Uint8Array, at: number): number {
  return u32(bytes, at) * 2 ** 32 + u32(bytes, at + 4)
}

/** Writes a 16-bit integer. */
export function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8
  bytes[at + 1] = value
}

/** Writes a 32-bit integer. */
export function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
}

/** Writes a safe integer into 64 bits. */
export function putU64(bytes: Uint8Array, at: number, value: number): void {
  putU32(bytes, at, Math.floor(value / 2 ** 32))
  putU32(bytes, at + 4, value % 2 ** 32)
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** The bytes of a text. */
export function textBytes(text: string): Uint8Array {
  return encoder.encode(text)
}

/** The text of bytes; what is no UTF-8 becomes U+FFFD. */
export function bytesText(bytes: Uint8Array): string {
  return decoder.decode(bytes)
}

/** A text of a peer for messages and logs: no control characters, and not endless. */
export function printable(text: string, longest = 80): string {
  const shown = text.length > longest ? `${text.slice(0, longest)}...` : text
  return shown.replace(/\p{Cc}/gu, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`)
}

/** Puts a message together: bytes, and integers of the given width. */
export class MessageWriter {
  readonly #parts: Uint8Array[] = []

  u16(value: number): this {
    const part = new Uint8Array(2)
    putU16(part, 0, value)
    return this.bytes(part)
  }

  u32(value: number): this {
    const part = new Uint8Array(4)
    putU32(part, 0, value)
    return this.bytes(part)
  }

  u64(value: number): this {
    const part = new Uint8Array(8)
    putU64(part, 0, value)
    return this.bytes(part)
  }

  /** A 32-bit length and the bytes of `text`. */
  string(text: string): this {
    const bytes = textBytes(text)
    return this.u32(bytes.length).bytes(bytes)
  }

  text(text: string): this {
    return this.bytes(textBytes(text))
  }

  bytes(bytes: Uint8Array): this {
    this.#parts.push(bytes)
    return this
  }

  /** All of it in one piece. */
  end(): Uint8Array {
    const whole = new Uint8Array(this.#parts.reduce((sum, { length }) => sum + length, 0))
    let at = 0
    for (const part of this.#parts) {
      whole.set(part, at)
      at += part.length
    }
    return whole
  }
}

/** Takes a message apart; what reaches behind its end reads as undefined. */
export class MessageReader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  u16(): number | undefined {
    const bytes = this.bytes(2)
    return bytes === undefined ? undefined : u16(bytes, 0)
  }

  u32(): number | undefined {
    const bytes = this.bytes(4)
    return bytes === undefined ? undefined : u32(bytes, 0)
  }

  u64(): number | undefined {
    const bytes = this.bytes(8)
    return bytes === undefined ? undefined : u64(bytes, 0)
  }

  /** The next `length` bytes. */
  bytes(length: number): Uint8Array | undefined {
    if (length > this.left) return undefined
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  /** Everything that is left. */
  rest(): Uint8Array {
    return this.bytes(this.left) as Uint8Array
  }
}
