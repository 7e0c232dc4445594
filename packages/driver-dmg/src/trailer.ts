/** The trailer of an image, which says where all else stands. */
import { BlockError, type ChildHandle } from '@diskgraph/core/driver'
import { largestTables, sectorSize, Trailer } from './layout.ts'

/** What is looked at for a trailer: something small may follow it, as in QEMU. */
const searched = 1024
const signature = 'koly'

/** What the trailer says, as it stands there. */
interface TrailerFields {
  readonly dataForkOffset: bigint
  /** Bytes of the disk. */
  readonly size: number
  readonly resourceFork: Range
  readonly propertyList: Range
}

interface Range {
  readonly offset: bigint
  readonly length: bigint
}

/** Where the trailer begins in `tail`; undefined where there is none. */
export function trailerIn(tail: Uint8Array): number | undefined {
  const view = new DataView(tail.buffer, tail.byteOffset, tail.byteLength)
  for (let at = 0; at + Trailer.size <= tail.length; at++) {
    const begins = [...signature].every((character, i) => tail[at + i] === character.charCodeAt(0))
    if (begins && view.getUint32(at + Trailer.headerSize) === Trailer.size) return at
  }
  return undefined
}

/** Reads the trailer. EINVAL, with QEMU's words, where there is none; ENOTSUP for a part of a set of files. */
export async function readTrailer(file: ChildHandle): Promise<TrailerFields> {
  const tail = new Uint8Array(Math.min(searched, file.size))
  await file.read(file.size - tail.length, tail)
  const at = trailerIn(tail)
  if (at === undefined) throw await noTrailer(file)
  const view = new DataView(tail.buffer, at, Trailer.size)
  const segments = view.getUint32(Trailer.segmentCount)
  if (segments > 1) {
    throw new BlockError('ENOTSUP', `the image is one of ${segments} parts, which this driver does not put together`, {
      hint: 'make it one file on macOS: hdiutil convert',
    })
  }
  const size = view.getBigUint64(Trailer.sectors) * BigInt(sectorSize)
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw new BlockError('EINVAL', `the disk has ${size} bytes, too many`)
  const range = (offset: number, length: number): Range => ({
    offset: view.getBigUint64(offset),
    length: view.getBigUint64(length),
  })
  return {
    dataForkOffset: view.getBigUint64(Trailer.dataForkOffset),
    size: Number(size),
    resourceFork: range(Trailer.resourceForkOffset, Trailer.resourceForkLength),
    propertyList: range(Trailer.propertyListOffset, Trailer.propertyListLength),
  }
}

async function noTrailer(file: ChildHandle): Promise<BlockError> {
  const head = new Uint8Array(Math.min(8, file.size))
  await file.read(0, head)
  if (new TextDecoder().decode(head) === 'encrcdsa') {
    return new BlockError('ENOTSUP', 'the image is encrypted, which this driver does not read', {
      hint: 'decrypt it on macOS: hdiutil convert',
    })
  }
  return new BlockError('EINVAL', 'Could not locate UDIF trailer in dmg file')
}

/** The bytes of a range that holds tables. EINVAL where it is too long, or ends behind the file. */
export async function readRange(file: ChildHandle, { offset, length }: Range, what: string): Promise<Uint8Array> {
  if (length > BigInt(largestTables) || offset + length > BigInt(file.size)) {
    throw new BlockError('EINVAL', `the ${what} of the image, ${length} bytes at ${offset}, is too long`)
  }
  const bytes = new Uint8Array(Number(length))
  await file.read(Number(offset), bytes)
  return bytes
}
