/** What `npm run reliability` does to vhdx. */
import { Graph } from '@diskgraph/core'
import { MemoryFiles, numberFields, type PagedFile, type ReliabilitySubject } from '@diskgraph/driver-testkit'
import { vhdx } from '@diskgraph/driver-vhdx'
import { replayingJudge } from './judge.ts'

// QEMU's driver knows no discard.
const common = { cluster: 65536, guest: {}, steps: { discard: 0 }, size: 2 ** 23 }
const fields = { width: 8, littleEndian: true } as const

/** One over another, which is not opened. */
async function differencing(): Promise<PagedFile[]> {
  const files = new MemoryFiles()
  await using graph = new Graph({ drivers: [vhdx, files.driver], references: 'allow' })
  const file = (name: string) => ({ driver: 'testkit-file', name })
  const options = { driver: 'vhdx', size: 8 * 2 ** 20, blockSize: 2 ** 20 }
  await graph.createUnchecked({ ...options, file: file('base') })
  await graph.createUnchecked({ ...options, backingFile: 'testkit-file:base', file: file('image') })
  const disk = await graph.addUnchecked({ driver: 'vhdx', file: file('image') })
  await disk.write(2 ** 20, new Uint8Array(2 ** 20).fill(1))
  await disk.close()
  return [files.file('image')]
}

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
    options: { backing: null },
    images: differencing,
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
