/** Puts an overlay over the image of a disk that is being written to: its user notices nothing, and the image stays. */
import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'

await using graph = new Graph({ drivers: [memory, qcow2] })
for (const name of ['base', 'overlay']) {
  await graph.create({ driver: 'qcow2', size: 2 ** 20, file: { driver: 'memory', name } })
}
const disk = await graph.add({ driver: 'qcow2', nodeName: 'old', file: { driver: 'memory', name: 'base' } })
const base = disk.node
const writes = Array.from({ length: 16 }, (_, i) => disk.write(i * 65536, new Uint8Array(65536).fill(i + 1)))

// The steps are one change: requests wait for it, and if one of them fails, nothing has happened.
await graph.change(async (change) => {
  const overlay = await change.open({
    driver: 'qcow2',
    nodeName: 'new',
    backing: null,
    file: { driver: 'memory', name: 'overlay' },
  })
  await change.setBacking(overlay, base)
  await change.replace(base, overlay)
})

await disk.write(0, new Uint8Array(65536).fill(99))
await Promise.all(writes)
await using below = await graph.attach(base, { permissions: 0 })
console.log(`the disk is on the node '${disk.node.name}', above '${base.name}'`)
for (const one of [disk, below]) {
  const buf = new Uint8Array(1)
  await one.read(0, buf)
  console.log(buf[0])
}

// the disk is on the node 'new', above 'old'
// 99
// 1
