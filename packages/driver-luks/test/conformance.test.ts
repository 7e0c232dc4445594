import { luks } from '@diskgraph/driver-luks'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

await conformance({
  test: { describe, it },
  driver: luks,
  secrets: { key: 'open sesame' },
  operations: 100,
  growsNoise: true,
  async setUp({ size, blank, files, graph, storage }) {
    files.put('image')
    const file = { driver: 'testkit-file', name: 'image' }
    const settings = { keySecret: 'key', cipherAlg: 'aes-128', cipherMode: 'cbc', iterTime: 0 }
    await graph.createUnchecked({ driver: 'luks', size, file, ...settings })
    // New sectors are noise.
    const disk = await graph.addUnchecked({ driver: 'luks', keySecret: 'key', file })
    const content = new Uint8Array(disk.size)
    if (blank) await disk.read(0, content)
    else await disk.write(0, content)
    await disk.close()
    return { definition: { driver: 'luks', keySecret: 'key', file: storage('image') }, content }
  },
})
