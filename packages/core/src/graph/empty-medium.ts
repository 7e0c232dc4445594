import type { DriverDescriptor } from '../contract/descriptor.ts'
import { noImage } from '../request/layer.ts'
import { Node } from './node.ts'

const noDriver: DriverDescriptor = {
  name: 'empty',
  kind: 'protocol',
  description: 'no medium',
  options: {},
  open: async () => noImage,
}

/** A node for a root that has no medium: of no size, and every request fails with ENOMEDIUM. In no graph's table. */
export function emptyMedium(): Node {
  return new Node({
    name: '',
    driver: noDriver,
    options: {},
    filename: '',
    readOnly: false,
    cache: { direct: false, noFlush: false },
    discard: 'ignore',
    detectZeroes: 'off',
    forceShare: false,
    children: new Map(),
  })
}
