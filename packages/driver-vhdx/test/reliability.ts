/** What `npm run reliability` does to vhdx. */
import { numberFields, type ReliabilitySubject } from '@diskgraph/driver-testkit'
import { vhdx } from '@diskgraph/driver-vhdx'
import { replayingJudge } from './judge.ts'

// QEMU's driver knows no discard.
const common = { cluster: 65536, guest: {}, steps: { discard: 0 }, size: 2 ** 23 }
const fields = { width: 8, littleEndian: true } as const

export const subject: ReliabilitySubject = {
  driver: vhdx,
  format: 'vhdx',
  variants: (['dynamic', 'fixed'] as const).map((subformat) => ({
    ...common,
    name: subformat,
    createOptions: { blockSize: 2 ** 20, subformat },
    qemuCreateOptions: `block_size=1048576,subformat=${subformat}`,
  })),
  checked: false,
  judge: replayingJudge,
  // Zeroes where no block is leave none here.
  compareMap: false,
  mutations: {
    fields: numberFields([
      { ...fields, name: 'first header', from: 65536, to: 65536 + 80 },
      { ...fields, name: 'second header', from: 2 * 65536, to: 2 * 65536 + 80 },
      { ...fields, name: 'regions', from: 3 * 65536, to: 3 * 65536 + 80 },
      { ...fields, name: 'log', from: 2 ** 20, to: 2 ** 20 + 128 },
      { ...fields, name: 'metadata table', from: 2 * 2 ** 20, to: 2 * 2 ** 20 + 192, width: 4 },
      { ...fields, name: 'metadata', from: 2 * 2 ** 20 + 65536, to: 2 * 2 ** 20 + 65536 + 64, width: 4 },
      { ...fields, name: 'blocks', from: 3 * 2 ** 20, to: 3 * 2 ** 20 + 256 },
    ]),
  },
}
