/** What `npm run reliability` does to vdi. */
import { numberFields, type ReliabilitySubject } from '@diskgraph/driver-testkit'
import { vdi } from '@diskgraph/driver-vdi'
import { repairedJudge } from './judge.ts'

// QEMU's driver knows no discard.
const common = { cluster: 65536, guest: { grow: 0.2 }, steps: { discard: 0 }, size: 3 * 2 ** 20 }

export const subject: ReliabilitySubject = {
  driver: vdi,
  format: 'vdi',
  variants: [
    { ...common, name: 'dynamic', createOptions: {}, qemuCreateOptions: 'static=off' },
    { ...common, name: 'static', createOptions: { static: true }, qemuCreateOptions: 'static=on', guest: {} },
  ],
  // Blocks that leaked are errors for qemu-img.
  checked: false,
  judge: repairedJudge,
  // Zeroes make QEMU's driver allocate.
  compareMap: false,
  mutations: {
    fields: numberFields([
      { name: 'header', from: 0x40, to: 0x188, width: 4, littleEndian: true },
      { name: 'map', from: 512, to: 512 + 400, width: 4, littleEndian: true },
    ]),
  },
}
