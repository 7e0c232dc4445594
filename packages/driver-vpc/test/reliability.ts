/** What `npm run reliability` does to vpc. */
import { numberFields, qemuImgJudge, type ReliabilitySubject } from '@diskgraph/driver-testkit'
import { vpc } from '@diskgraph/driver-vpc'

// QEMU's driver knows no discard.
const common = { cluster: 65536, guest: {}, steps: { discard: 0 }, size: 5 * 2 ** 20 }

export const subject: ReliabilitySubject = {
  driver: vpc,
  format: 'vpc',
  variants: [
    { ...common, name: 'dynamic', createOptions: { forceSize: true }, qemuCreateOptions: 'force_size=on' },
    {
      ...common,
      name: 'fixed',
      createOptions: { subformat: 'fixed', forceSize: true },
      qemuCreateOptions: 'subformat=fixed,force_size=on',
    },
  ],
  checked: false,
  judge: (folder) => qemuImgJudge({ format: 'vpc', folder }),
  // Zeroes make QEMU's driver allocate.
  compareMap: false,
  mutations: {
    fields: numberFields([
      { name: 'footer', from: 0, to: 72, width: 4 },
      { name: 'header', from: 512, to: 512 + 40, width: 4 },
      { name: 'table', from: 1536, to: 1536 + 64, width: 4 },
    ]),
  },
}
