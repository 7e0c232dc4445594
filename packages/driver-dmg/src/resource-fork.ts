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
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  try {
    return placesOf(view).map((place) => {
      const length = view.getUint32(place)
      if (place + 4 + length > bytes.length) throw new RangeError('a resource ends behind the fork')
      return bytes.subarray(place + 4, place + 4 + length)
    })
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause
    throw new BlockError('EINVAL', 'the resource fork of the image is damaged', { cause })
  }
}

function placesOf(view: DataView): number[] {
  const data = view.getUint32(Fork.data)
  const map = view.getUint32(Fork.map)
  const types = map + view.getUint16(map + typeList)
  const places: number[] = []
  // Numbers in the map are one less than what they count; an empty list has 65535.
  const count = (view.getUint16(types) + 1) % 65536
  for (let type = 0; type < count; type++) {
    const at = types + 2 + type * typeSize
    if (view.getUint32(at) !== wanted) continue
    const references = types + view.getUint16(at + 6)
    const resources = view.getUint16(at + 4) + 1
    for (let i = 0; i < resources; i++) {
      places.push(data + (view.getUint32(references + i * referenceSize + 4) & 0xffffff))
    }
  }
  return places
}
