/**
 * The two headers. The one with a right checksum and the higher sequence number counts; a change goes to the other one, so
 * that there is always one that is whole.
 */
import { BlockError, type ChildHandle } from '@diskgraph/core/driver'
import { crc32c } from './crc32c.ts'
import { guidAt, HeaderField, headerOffsets, headerSize, logSector, putGuid, unit } from './layout.ts'

/** What a header says. */
export interface Header {
  readonly sequence: bigint
  readonly fileWriteGuid: string
  readonly dataWriteGuid: string
  /** Of the entries of the log; zeroes when it is empty. */
  readonly logGuid: string
  readonly logOffset: number
  readonly logLength: number
}

/** The headers of an image. */
export class Headers {
  readonly #file: ChildHandle
  #current: Header
  /** Which of the two counts. */
  #slot: number

  private constructor(file: ChildHandle, current: Header, slot: number) {
    this.#file = file
    this.#current = current
    this.#slot = slot
  }

  /** Reads both. EINVAL when none is whole. */
  static async read(file: ChildHandle): Promise<Headers> {
    let best: { readonly header: Header; readonly slot: number } | undefined
    for (const [slot, offset] of headerOffsets.entries()) {
      const bytes = new Uint8Array(headerSize)
      await file.read(offset, bytes)
      const header = parseHeader(bytes)
      if (header !== undefined && (best === undefined || header.sequence > best.header.sequence))
        best = { header, slot }
    }
    if (best === undefined) throw new BlockError('EINVAL', 'No valid VHDX header found')
    const { logOffset, logLength } = best.header
    if (logOffset < unit || logOffset % unit !== 0 || logLength % unit !== 0 || logLength === 0) {
      throw new BlockError('EINVAL', `the log of the image is said to stand at ${logOffset}, with ${logLength} bytes`)
    }
    return new Headers(file, best.header, best.slot)
  }

  get current(): Header {
    return this.#current
  }

  /** Writes the other header with changed fields, and flushes it. */
  async change(fields: Partial<Omit<Header, 'sequence'>>): Promise<void> {
    const header = { ...this.#current, ...fields, sequence: this.#current.sequence + 1n }
    const slot = 1 - this.#slot
    await this.#file.write(headerOffsets[slot] as number, headerBytes(header))
    await this.#file.flush()
    this.#current = header
    this.#slot = slot
  }
}

function parseHeader(bytes: Uint8Array): Header | undefined {
  const view = new DataView(bytes.buffer)
  if (String.fromCharCode(...bytes.subarray(0, 4)) !== 'head') return undefined
  if (view.getUint32(HeaderField.checksum, true) !== crc32c(bytes, HeaderField.checksum)) return undefined
  if (view.getUint16(HeaderField.version, true) !== 1 || view.getUint16(HeaderField.logVersion, true) !== 0) {
    return undefined
  }
  return {
    sequence: view.getBigUint64(HeaderField.sequence, true),
    fileWriteGuid: guidAt(bytes, HeaderField.fileWriteGuid),
    dataWriteGuid: guidAt(bytes, HeaderField.dataWriteGuid),
    logGuid: guidAt(bytes, HeaderField.logGuid),
    logOffset: Number(view.getBigUint64(HeaderField.logOffset, true)),
    logLength: view.getUint32(HeaderField.logLength, true),
  }
}

/** A header for the file. */
export function headerBytes(header: Header): Uint8Array {
  const bytes = new Uint8Array(headerSize)
  const view = new DataView(bytes.buffer)
  bytes.set(new TextEncoder().encode('head'))
  view.setBigUint64(HeaderField.sequence, header.sequence, true)
  putGuid(bytes, HeaderField.fileWriteGuid, header.fileWriteGuid)
  putGuid(bytes, HeaderField.dataWriteGuid, header.dataWriteGuid)
  putGuid(bytes, HeaderField.logGuid, header.logGuid)
  view.setUint16(HeaderField.version, 1, true)
  view.setUint32(HeaderField.logLength, header.logLength, true)
  view.setBigUint64(HeaderField.logOffset, BigInt(header.logOffset), true)
  view.setUint32(HeaderField.checksum, crc32c(bytes, HeaderField.checksum), true)
  return bytes
}

/** Sectors of the log. */
export function logSectors({ logLength }: Header): number {
  return logLength / logSector
}
