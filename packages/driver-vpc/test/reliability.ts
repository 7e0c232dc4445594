/** What `npm run reliability` does to vpc. */
import { Graph } from '@diskgraph/core'
import {
  MemoryFiles,
  numberFields,
  type PagedFile,
  qemuImgJudge,
  type ReliabilitySubject,
} from '@diskgraph/driver-testkit'
import { vpc } from '@diskgraph/driver-vpc'

// QEMU's driver knows no discard.
const common = { cluster: 65536, guest: {}, steps: { discard: 0 }, size: 5 * 2 ** 20 }

/** One over another, which is not opened. */
async function differencing(): Promise<PagedFile[]> {
  const files = new MemoryFiles()
  await using graph = new Graph({ drivers: [vpc, files.driver], references: 'allow' })
  const file = (name: string) => ({ driver: 'testkit-file', name })
  const options = { driver: 'vpc', size: 5 * 2 ** 20, forceSize: true }
  await graph.createUnchecked({ ...options, file: file('base') })
  await graph.createUnchecked({ ...options, backingFile: 'testkit-file:base', file: file('image') })
  const disk = await graph.addUnchecked({ driver: 'vpc', file: file('image') })
  await disk.write(2 ** 20, new Uint8Array(2 ** 20).fill(1))
  await disk.close()
  // The first sectors of the block are those of the image below; its bitmap stands behind a sector of the table.
  files.file('image').write(2560, new Uint8Array(16).fill(0x5a))
  return [files.file('image')]
}

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
    options: { backing: null },
    images: differencing,
    fields: numberFields([
      { name: 'footer', from: 0, to: 72, width: 4 },
      { name: 'header', from: 512, to: 512 + 40, width: 4 },
      { name: 'locator', from: 512 + 576, to: 512 + 600, width: 4 },
      { name: 'table', from: 1536, to: 1536 + 64, width: 4 },
      { name: 'table behind a name', from: 2048, to: 2048 + 12, width: 4 },
    ]),
  },
}
