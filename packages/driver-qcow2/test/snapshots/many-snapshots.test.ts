/** An image with very many snapshots, whose names are very long. */
import { type Disk, Graph } from '@diskgraph/core'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { MemoryFiles } from '@diskgraph/driver-testkit'
import { beforeAll, describe, expect, it } from 'vitest'

const MiB = 2 ** 20
const cluster = 65536
const count = 60_000
const entryBytes = 960
/** In MiB. The names are 51 MiB, and twice that in Bun, whose decoded texts have two bytes a character. */
const limit = 'Bun' in globalThis ? 211 : 160
const memoryFiles = new MemoryFiles()

/** Makes an empty image and gives it a table of `count` empty snapshots. */
async function makeImage(): Promise<void> {
  await using graph = new Graph({ drivers: [qcow2, memoryFiles.driver] })
  await graph.createUnchecked({ driver: 'qcow2', size: 4 * MiB, file: { driver: 'testkit-file', name: 'image' } })
  const image = memoryFiles.file('image')
  const start = Math.ceil(image.size / cluster) * cluster
  const entry = new Uint8Array(entryBytes)
  const view = new DataView(entry.buffer)
  view.setUint16(12, 5)
  view.setUint16(14, 899)
  view.setUint32(36, 16)
  view.setBigUint64(48, BigInt(4 * MiB))
  for (let index = 0; index < count; index++) {
    entry.set(new TextEncoder().encode(String(10_000 + index) + String(index).padEnd(899, 'n')), 56)
    image.write(start + index * entryBytes, entry)
  }
  const header = new DataView(new ArrayBuffer(104))
  const bytes = new Uint8Array(header.buffer)
  image.read(0, bytes)
  header.setUint32(60, count)
  header.setBigUint64(64, BigInt(start))
  image.write(0, bytes)
  const pointer = new DataView(new ArrayBuffer(8))
  image.read(Number(header.getBigUint64(48)), new Uint8Array(pointer.buffer))
  const clusters = Math.ceil((count * entryBytes) / cluster)
  const counts = Buffer.alloc(clusters * 2)
  for (let index = 0; index < clusters; index++) counts.writeUInt16BE(1, index * 2)
  image.write(Number(pointer.getBigUint64(0)) + (start / cluster) * 2, counts)
}

const verbs: Readonly<Record<string, (disk: Disk) => Promise<unknown>>> = {
  info: (disk) => disk.info(),
  list: async (disk) => disk.snapshots.list(),
  check: (disk) => disk.check({ repair: 'none' }),
  amend: (disk) => disk.amend({ options: { compat: '0.10' } }),
  resize: (disk) => disk.truncate(8 * MiB),
}

describe('an image with 60,000 snapshots', () => {
  beforeAll(makeImage)
  for (const [name, run] of Object.entries(verbs)) {
    it(`takes less than ${limit} MiB of memory: ${name}`, async () => {
      const own = new MemoryFiles()
      own.put('image', memoryFiles.file('image').clone())
      const before = process.memoryUsage()
      await using graph = new Graph({ drivers: [qcow2, own.driver] })
      const disk = await graph.addUnchecked({ driver: 'qcow2', file: { driver: 'testkit-file', name: 'image' } })
      await run(disk)
      const after = process.memoryUsage()
      const growth = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers
      expect(growth / MiB).toBeLessThan(limit)
      expect(disk.snapshots.list().length).toBe(count)
    })
  }
})
