/** What `npm run reliability` does to vmdk. */
import { numberFields, type ReliabilitySubject } from '@diskgraph/driver-testkit'
import { vmdk } from '@diskgraph/driver-vmdk'

// QEMU's driver knows no discard.
const common = { cluster: 65536, guest: {}, steps: { discard: 0 }, size: 2 ** 22 }
const fields = { width: 4, littleEndian: true } as const

export const subject: ReliabilitySubject = {
  driver: vmdk,
  format: 'vmdk',
  variants: [
    { ...common, name: 'sparse', createOptions: {}, qemuCreateOptions: 'zeroed_grain=off' },
    { ...common, name: 'zeroed grains', createOptions: { zeroedGrain: true }, qemuCreateOptions: 'zeroed_grain=on' },
  ],
  checked: true,
  // Zeroes over grains with data make holes here, and none where no grain is.
  compareMap: false,
  mutations: {
    fields: numberFields([
      { ...fields, name: 'header', from: 0, to: 80, width: 4 },
      { ...fields, name: 'descriptor', from: 512, to: 512 + 512, width: 1 },
      { ...fields, name: 'second root and tables', from: 21 * 512, to: 26 * 512 },
      { ...fields, name: 'root and tables', from: 26 * 512, to: 32 * 512 },
    ]),
  },
}
