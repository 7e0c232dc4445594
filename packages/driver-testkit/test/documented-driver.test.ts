/** The example of docs/writing-a-driver.md, run as it stands there. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type DriverDescriptor, Graph } from '@diskgraph/core'
import { conformance, MemoryFiles } from '@diskgraph/driver-testkit'
import { afterAll, describe, expect, it } from 'vitest'

const page = readFileSync(new URL('../../../docs/writing-a-driver.md', import.meta.url), 'utf8')
// Beside this file, so that its imports are those of the workspace.
const folder = mkdtempSync(join(import.meta.dirname, '.documented-'))
writeFileSync(join(folder, 'xor.ts'), /```ts\n([\s\S]*?)```/.exec(page)?.[1] ?? '')
const { xor } = (await import(join(folder, 'xor.ts'))) as { xor: DriverDescriptor }
afterAll(() => rmSync(folder, { recursive: true }))

await conformance({
  test: { describe, it },
  driver: xor,
  setUp({ files, size, blank, storage }) {
    const content = Uint8Array.from({ length: size }, (_, i) => (blank ? 7 : (i % 253) + 1))
    const image = files.put('image')
    image.truncate(size)
    const stored = content.map((byte) => byte ^ 7)
    if (!blank) image.write(0, stored)
    return { definition: { driver: 'xor', key: 7, file: storage('image') }, content }
  },
})

describe('the documented driver', () => {
  it('says data of holes of its child, which read as the key', async () => {
    const files = new MemoryFiles()
    files.put('image').truncate(65536)
    await using graph = new Graph({ drivers: [xor, files.driver] })
    const file = { driver: 'testkit-file', name: 'image' }
    const disk = await graph.addUnchecked({ driver: 'xor', key: 7, file })
    const extents = []
    for await (const { length, data, zero, hostOffset } of disk.extents())
      extents.push({ length, data, zero, hostOffset })
    expect(extents).toEqual([{ length: 65536, data: true, zero: false, hostOffset: undefined }])
  })
})
