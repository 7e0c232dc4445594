import type { PagedFile } from '@diskgraph/driver-testkit'

/** Whether the header says that the image is in use. */
export function isDirty(image: PagedFile): boolean {
  const field = new Uint8Array(4)
  image.read(44, field)
  return field.some((byte) => byte !== 0)
}
