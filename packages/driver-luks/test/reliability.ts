/** What `npm run reliability` does to luks: its header is damaged; what a guest writes changes none of it. */
import { Graph } from '@diskgraph/core'
import { luks } from '@diskgraph/driver-luks'
import { MemoryFiles, numberFields, type PagedFile, type ReliabilitySubject } from '@diskgraph/driver-testkit'

const secrets = { key: 'open sesame' }

async function newImages(): Promise<PagedFile[]> {
  const images = ['cbc', 'xts'].map(async (cipherMode) => {
    const files = new MemoryFiles()
    files.put('image')
    await using graph = new Graph({ drivers: [luks, files.driver], secrets })
    const file = { driver: 'testkit-file', name: 'image' }
    await graph.createUnchecked({ driver: 'luks', size: 2 ** 20, file, keySecret: 'key', cipherMode, iterTime: 0 })
    return files.file('image')
  })
  return Promise.all(images)
}

export const subject: ReliabilitySubject = {
  driver: luks,
  format: 'luks',
  variants: [],
  checked: false,
  mutations: {
    options: { keySecret: 'key' },
    secrets,
    images: newImages,
    fields: numberFields([
      { name: 'header', from: 0, to: 104, width: 4 },
      { name: 'slots', from: 160, to: 592, width: 4 },
    ]),
  },
}
