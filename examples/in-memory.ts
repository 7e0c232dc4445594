/** A qcow2 image that is in no file: made in memory, taken out as a Blob, opened again. All of it runs in browsers. */
import { Graph } from '@diskgraph/core'
import { blob } from '@diskgraph/driver-blob'
import { memory } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'

await using graph = new Graph({ drivers: [memory, blob, qcow2] })
await graph.create({ driver: 'qcow2', size: 2 ** 30, file: { driver: 'memory', name: 'image' } })
{
  await using disk = await graph.add({ driver: 'qcow2', file: { driver: 'memory', name: 'image' } })
  await disk.write(2 ** 29, new TextEncoder().encode('in the middle'))
}

await using image = await graph.add({ driver: 'memory', name: 'image', readOnly: true })
const buf = new Uint8Array(image.size)
await image.read(0, buf)
const download = new Blob([buf])

const disk = await graph.add({ driver: 'qcow2', file: { driver: 'blob', blob: download }, readOnly: true })
const words = new Uint8Array(13)
await disk.read(2 ** 29, words)
console.log(`${disk.size} bytes in an image of ${download.size}: ${new TextDecoder().decode(words)}`)

// 1073741824 bytes in an image of 393216: in the middle
