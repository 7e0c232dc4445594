/**
 * The tables that stand in a resource fork: the resources of the type `blkx`.
 *
 *     where data and map stand │ data: length, bytes │ … │ map: list of types, for each a list of places
 */
import { BlockError } from '@diskgraph/core/driver'

const Fork = { data: 0, map: 4 } as const
/** From the start of the map. */
const typeList = 24
const typeSize = 8
const referenceSize = 12
const wanted = 0x626c6b78

/** The tables of the fork `bytes`, in their order. EINVAL where it is damaged. */
export function tablesOfResourceFork(bytes: Uint8Array): Uint8Array[] {
  const fork = new ForkReader(bytes)
  const data = fork.u32(Fork.data)
  let total = 0
  return fork.places(fork.u32(Fork.map)).map((place) => {
    const start = data + place + 4
    const table = fork.bytes(start, fork.u32(start - 4))
    total += table.length
    // A list that names the same bytes again and again is as long as its maker likes.
    if (total > bytes.length) throw damaged(`its tables take ${total} bytes or more, and it has ${bytes.length}`)
    return table
  })
}

function damaged(text: string): BlockError {
  return new BlockError('EINVAL', `the resource fork of the image is damaged: ${text}`)
}

/** Numbers of a fork, big-endian. EINVAL behind its end. */
class ForkReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  bytes(at: number, length: number): Uint8Array {
    if (at + length > this.#bytes.length) {
      throw damaged(`it has ${this.#bytes.length} bytes, and ${length} at ${at}`)
    }
    return this.#bytes.subarray(at, at + length)
  }

  u16(at: number): number {
    this.bytes(at, 2)
    return this.#view.getUint16(at)
  }

  u32(at: number): number {
    this.bytes(at, 4)
    return this.#view.getUint32(at)
  }

  /** Where the resources of the type stand among the data, by the map at `map`. */
  places(map: number): number[] {
    const types = map + this.u16(map + typeList)
    // Numbers in the map are one less than what they count; an empty list has 65535.
    const count = (this.u16(types) + 1) % 65536
    const places: number[] = []
    for (let type = 0; type < count; type++) {
      const at = types + 2 + type * typeSize
      if (this.u32(at) !== wanted) continue
      const references = types + this.u16(at + 6)
      const resources = this.u16(at + 4) + 1
      if ((places.length + resources) * referenceSize > this.#bytes.length) {
        throw damaged(`it lists ${places.length + resources} tables, and has ${this.#bytes.length} bytes`)
      }
      for (let i = 0; i < resources; i++) places.push(this.u32(references + i * referenceSize + 4) & 0xffffff)
    }
    return places
  }
}
