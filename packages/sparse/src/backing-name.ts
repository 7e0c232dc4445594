/** The name of a backing file that stands in an image, and the options that every format with one has. */
import { BlockError, type ChildHandle, type OptionalChild, type SchemasOf } from '@diskgraph/core/driver'

/** Options of a node whose image may have a backing file. */
export interface BackingOptions {
  /** The backing file, instead of the one that the image names; null: none. */
  backing?: OptionalChild
}

/** The schemas of {@link BackingOptions}. */
export const backingOptions: SchemasOf<BackingOptions> = {
  backing: {
    type: 'child',
    role: 'cow',
    description: 'The backing file, instead of the one that the image names; null for none',
  },
}

/** Where a name stands in a file, in bytes. The caller has checked that its length is one that a name may have. */
export interface NamePlace {
  readonly offset: number
  readonly length: number
}

/** The name at `place`; undefined where there is none, or an empty one. EINVAL for a name with a zero byte in it. */
export async function readBackingName(file: ChildHandle, place: NamePlace | undefined): Promise<string | undefined> {
  if (place === undefined || place.length === 0) return undefined
  const bytes = new Uint8Array(place.length)
  await file.read(place.offset, bytes)
  const text = new TextDecoder().decode(bytes)
  if (text.includes('\0')) throw new BlockError('EINVAL', 'the name of the backing file has a zero byte in it')
  return text
}
