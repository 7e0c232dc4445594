/** Puts an overlay on a base: what is written goes into the overlay, what is read comes from where it stands. */
import { Graph } from '@diskgraph/core'
import { file } from '@diskgraph/driver-file'
import { qcow2 } from '@diskgraph/driver-qcow2'

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
const bytes = (words: string): Uint8Array => new TextEncoder().encode(words)

await using graph = new Graph({ drivers: [file, qcow2] })
await graph.create({ driver: 'qcow2', size: 2 ** 20, file: { driver: 'file', filename: 'base.qcow2' } })
{
  await using base = await graph.add({ driver: 'qcow2', file: { driver: 'file', filename: 'base.qcow2' } })
  await base.write(0, bytes('from the base'))
}

await graph.create({
  driver: 'qcow2',
  size: 2 ** 20,
  backingFile: 'base.qcow2',
  backingFmt: 'qcow2',
  file: { driver: 'file', filename: 'overlay.qcow2' },
})
const disk = await graph.add({ driver: 'qcow2', file: { driver: 'file', filename: 'overlay.qcow2' } })
await disk.write(2 ** 19, bytes('from the overlay'))

for (const [offset, length] of [
  [0, 13],
  [2 ** 19, 16],
] as const) {
  const buf = new Uint8Array(length)
  await disk.read(offset, buf)
  console.log(text(buf))
}
const own = disk.extents({ base: disk.node.children.get('backing')?.node })
for await (const { offset, length, data } of own)
  if (data) console.log(`the overlay holds ${length} bytes at ${offset}`)

// from the base
// from the overlay
// the overlay holds 65536 bytes at 524288
