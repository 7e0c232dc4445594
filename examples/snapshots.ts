/** Makes an image, takes a snapshot of it, and goes back. */
import { Graph } from '@diskgraph/core'
import { file } from '@diskgraph/driver-file'
import { qcow2 } from '@diskgraph/driver-qcow2'

await using graph = new Graph({ drivers: [file, qcow2] })
await graph.create({ driver: 'qcow2', size: 2 ** 20, file: { driver: 'file', filename: 'disk.qcow2' } })
const disk = await graph.add({ driver: 'qcow2', file: { driver: 'file', filename: 'disk.qcow2' } })

const write = (words: string): Promise<void> => disk.write(0, new TextEncoder().encode(words))
const show = async (): Promise<void> => {
  const buf = new Uint8Array(6)
  await disk.read(0, buf)
  console.log(new TextDecoder().decode(buf))
}

await write('before')
await disk.snapshots.create({ name: 'first' })
await write('after!')
await show()
await disk.snapshots.apply('first')
await show()
for (const { id, name } of disk.snapshots.list()) console.log(`snapshot ${id}: ${name}`)

// after!
// before
// snapshot 1: first
