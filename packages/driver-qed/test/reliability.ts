/** What `npm run reliability` does to qed. */
import { qed } from '@diskgraph/driver-qed'
import { numberFields, type ReliabilitySubject } from '@diskgraph/driver-testkit'

const shape = {
  createOptions: { clusterSize: 4096, tableSize: 2 },
  qemuCreateOptions: 'cluster_size=4096,table_size=2',
}
// QEMU's driver knows no discard.
const common = { guest: {}, steps: { discard: 0 }, size: 2 ** 22 }

export const subject: ReliabilitySubject = {
  driver: qed,
  format: 'qed',
  variants: [
    { ...common, ...shape, name: '4 KiB clusters', cluster: 4096 },
    // After a write into a part of a zeroed cluster QEMU shows the backing file around it.
    { ...common, ...shape, name: 'backing file', cluster: 4096, backing: 'backing', steps: { discard: 0, zeroes: 0 } },
    {
      ...common,
      name: '64 KiB clusters',
      createOptions: {},
      qemuCreateOptions: 'cluster_size=65536',
      cluster: 65536,
    },
  ],
  checked: true,
  // Zeroes where no cluster is leave no entry here.
  compareMap: false,
  mutations: {
    fields: numberFields([
      { name: 'header', from: 0, to: 16, width: 4, littleEndian: true },
      { name: 'header', from: 16, to: 56, width: 8, littleEndian: true },
      { name: 'name', from: 56, to: 64, width: 4, littleEndian: true },
      { name: 'root', from: 4096, to: 4096 + 64, width: 8, littleEndian: true },
      { name: 'tables', from: 4096 + 8192, to: 4096 + 8192 + 2 ** 15, width: 8, littleEndian: true },
    ]),
  },
}
