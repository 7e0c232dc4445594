/** What `npm run reliability` does to parallels. */
import { parallels } from '@diskgraph/driver-parallels'
import { numberFields, type ReliabilitySubject } from '@diskgraph/driver-testkit'
import { isDirty } from './dirty.ts'

// QEMU's driver knows no discard.
const common = { guest: {}, steps: { discard: 0 }, size: 2 ** 21 }

export const subject: ReliabilitySubject = {
  driver: parallels,
  format: 'parallels',
  variants: [65536, 63 * 512].map((clusterSize) => ({
    ...common,
    name: `clusters of ${clusterSize}`,
    createOptions: { clusterSize },
    qemuCreateOptions: `cluster_size=${clusterSize}`,
    cluster: clusterSize,
  })),
  checked: true,
  isDirty,
  // Zeroes make QEMU's driver allocate.
  compareMap: false,
  mutations: {
    fields: numberFields([
      { name: 'header', from: 0, to: 64, width: 4, littleEndian: true },
      { name: 'table', from: 64, to: 64 + 400, width: 4, littleEndian: true },
    ]),
  },
}
