/** What `npm run reliability` does to qcow. */
import { qcow } from '@diskgraph/driver-qcow'
import { numberFields, type ReliabilitySubject } from '@diskgraph/driver-testkit'

// QEMU's driver knows no discard.
const common = { createOptions: {}, qemuCreateOptions: '', guest: {}, steps: { discard: 0 }, size: 2 ** 21 }

export const subject: ReliabilitySubject = {
  driver: qcow,
  format: 'qcow',
  variants: [
    { ...common, name: 'alone', cluster: 4096 },
    { ...common, name: 'backing file', cluster: 4096, backing: 'backing' },
  ],
  checked: false,
  // Zeroes where no cluster is leave none here.
  compareMap: false,
  mutations: {
    fields: numberFields([
      { name: 'header', from: 0, to: 8, width: 4 },
      { name: 'header', from: 8, to: 16, width: 8 },
      { name: 'header', from: 16, to: 24, width: 4 },
      { name: 'size', from: 24, to: 32, width: 8 },
      { name: 'bits', from: 32, to: 34, width: 1 },
      { name: 'method', from: 36, to: 40, width: 4 },
      { name: 'root', from: 40, to: 48 + 64, width: 8 },
      { name: 'tables', from: 4096, to: 3 * 4096, width: 8 },
    ]),
  },
}
