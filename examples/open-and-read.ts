/** Opens a disk by its file name, whatever its format is, and reads from it. */
import { writeFile } from 'node:fs/promises'
import { Graph } from '@diskgraph/core'
import { file } from '@diskgraph/driver-file'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { raw } from '@diskgraph/driver-raw'

await writeFile('disk.img', 'hello, disk'.padEnd(1024 * 1024, '\0'))

// Without `await using` (Node before 24, plain JavaScript) the graph is closed by hand, whatever happens.
const graph = new Graph({ drivers: [file, raw, qcow2] })
try {
  const disk = await graph.open('disk.img', { readOnly: true })
  const buf = new Uint8Array(11)
  await disk.read(0, buf)
  console.log(`${disk.node.driver.name}, ${disk.size} bytes: ${new TextDecoder().decode(buf)}`)
  for await (const { offset, length, data } of disk.extents()) console.log(offset, length, data ? 'data' : 'hole')
} finally {
  await graph.close()
}

// raw, 1048576 bytes: hello, disk
// 0 1048576 data
