/**
 * What the header of a qcow2 image says of other files, read without a driver: which of them a driver knows, it
 * opens, and what it does not know yet, an older one must not hide. Numbers are those of the qcow2 specification.
 */

/** What a header tells. */
export interface HeaderFacts {
  /** The data stands in another file. */
  readonly externalData: boolean
  /** The name of that file, which may be recorded where the feature is not set. */
  readonly dataFile?: string
  /** The header extensions end within the part of the file that was looked at. */
  readonly complete: boolean
}

const externalDataBit = 4
const dataFileExtension = 0x44415441

/** Reads the start of a qcow2 image; undefined where it is not one. */
export function readHeaderFacts(head: Uint8Array): HeaderFacts | undefined {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength)
  if (head.length < 72 || view.getUint32(0) !== 0x514649fb) return undefined
  const version = view.getUint32(4)
  const hasFeatures = version >= 3 && head.length >= 104
  const externalData = hasFeatures && (view.getUint32(76) & externalDataBit) !== 0
  for (let at = hasFeatures ? view.getUint32(100) : 72; at + 8 <= head.length; ) {
    const type = view.getUint32(at)
    const length = view.getUint32(at + 4)
    if (type === 0) return { externalData, complete: true }
    if (type === dataFileExtension && at + 8 + length <= head.length) {
      const dataFile = new TextDecoder().decode(head.subarray(at + 8, at + 8 + length))
      return { externalData, dataFile, complete: true }
    }
    at += 8 + Math.ceil(length / 8) * 8
  }
  return { externalData, complete: false }
}
