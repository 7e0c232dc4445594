import { join } from 'node:path'
import { conformance } from '@diskgraph/driver-testkit'
import { vvfat } from '@diskgraph/driver-vvfat'
import { describe, it } from 'vitest'
import { bytesOf, fill, show, temporaryFolder } from './support.ts'

const dir = fill(join(temporaryFolder(), 'dir'), {
  'a.txt': 'a',
  'below/A long name.data': Uint8Array.from({ length: 300_000 }, (_, i) => (i % 251) + 1),
})
const options = { driver: 'vvfat', dir, floppy: true, fatType: 12 } as const
await using shown = await show(options)
const content = await bytesOf(shown.disk)

await conformance({
  test: { describe, it },
  driver: vvfat,
  size: content.length,
  setUp: () => ({ definition: options, content }),
})
