/** A driver of one's own: disks whose bytes tell their place. It stacks with all others, and its options are typed. */
import { type DriverDescriptor, Graph } from '@diskgraph/core'
import { done } from '@diskgraph/core/driver'
import { raw } from '@diskgraph/driver-raw'

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    ruler: { open: { size?: number; step: number } }
  }
}

const ruler: DriverDescriptor = {
  name: 'ruler',
  kind: 'protocol',
  description: 'byte n is n divided by the step',
  options: {
    size: { type: 'integer', size: true, default: 2 ** 20, description: 'size in bytes' },
    step: { type: 'integer', minimum: 1, required: true, description: 'bytes that are alike' },
  },
  // Bounds, alignment and limits are the core's business; without `write` the disk is read-only.
  open: async ({ options }) => ({
    size: options.size as number,
    read(offset, buf) {
      for (let at = 0; at < buf.length; at++) buf[at] = Math.floor((offset + at) / (options.step as number))
      return done
    },
  }),
}

await using graph = new Graph({ drivers: [ruler, raw] })
const disk = await graph.add({ driver: 'raw', offset: 1024, size: 2048, file: { driver: 'ruler', step: 256 } })
const buf = new Uint8Array(4)
for (const offset of [0, 254, 2044]) {
  await disk.read(offset, buf)
  console.log(buf.join(' '))
}
console.log(disk.node.driver.name, disk.readOnly ? 'read-only' : 'writable')

// 4 4 4 4
// 4 4 5 5
// 11 11 11 11
// raw read-only
