import { readFileSync, writeFileSync } from 'node:fs'
import { Flag, Graph } from '@diskgraph/core'
import { file } from '@diskgraph/driver-file'
import { qcow } from '@diskgraph/driver-qcow'
import { MemoryFiles, peer, Random, randomSeed, runTool, TempFolder } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const seed = Number(process.env.SEED ?? randomSeed())
const qemu = peer('qemu-img', { describe, it })
const clusterSize = 4096
const size = 64 * clusterSize + 1536

/** Half of the clusters compress, a quarter does not, a quarter is zeroes. */
function sample(): Uint8Array {
  const random = new Random(seed)
  const bytes = new Uint8Array(size)
  for (let at = 0; at < size; at += clusterSize) {
    const kind = (at / clusterSize) % 4
    if (kind === 3) continue
    const data = random.bytes(Math.min(clusterSize, size - at))
    bytes.set(kind === 0 ? data : data.fill(kind, 100), at)
  }
  return bytes
}

qemu.describe(`compressed clusters (seed ${seed})`, () => {
  it('are read as qemu-img has written them', async () => {
    await using folder = await TempFolder.make()
    const [raw, image] = [folder.file('raw'), folder.file('image')]
    writeFileSync(raw, sample())
    await runTool('qemu-img', ['convert', '-c', '-f', 'raw', '-O', 'qcow', raw, image])
    await using graph = new Graph({ drivers: [file, qcow] })
    const disk = await graph.open(image, { format: 'qcow', readOnly: true })
    const buf = new Uint8Array(size)
    await disk.read(0, buf)
    expect(Buffer.compare(buf, sample())).toBe(0)
    for (const [at, length] of [
      [1, 10],
      [clusterSize - 5, clusterSize + 10],
    ] as const) {
      await disk.read(at, buf.subarray(0, length))
      expect(Buffer.compare(buf.subarray(0, length), sample().subarray(at, at + length))).toBe(0)
    }
  })

  it('are written so that qemu-img reads them, with plain data over some', async () => {
    await using folder = await TempFolder.make()
    const [raw, image] = [folder.file('raw'), folder.file('image')]
    const expected = sample()
    await using graph = new Graph({ drivers: [file, qcow] })
    await graph.create({ driver: 'qcow', size, file: { driver: 'file', filename: image } })
    const disk = await graph.open(image, { format: 'qcow' })
    await Promise.all([
      disk.write(0, expected.slice(0, 32 * clusterSize), Flag.Compressed),
      disk.write(32 * clusterSize, expected.slice(32 * clusterSize), Flag.Compressed),
      disk.flush(),
    ])
    await expect(disk.write(clusterSize, new Uint8Array(clusterSize), Flag.Compressed)).rejects.toMatchObject({
      code: 'EIO',
    })
    await expect(disk.write(1, new Uint8Array(clusterSize), Flag.Compressed)).rejects.toMatchObject({ code: 'EINVAL' })
    expected.fill(77, clusterSize + 100, 2 * clusterSize + 100)
    await disk.write(clusterSize + 100, new Uint8Array(clusterSize).fill(77))
    await disk.close()
    expect(await runTool('qemu-img', ['convert', '-f', 'qcow', '-O', 'raw', image, raw])).toMatchObject({ status: 0 })
    expect(Buffer.compare(readFileSync(raw), expected)).toBe(0)
  })
})

it('stand where a flush that makes the file longer does not cut them off', async () => {
  const files = new MemoryFiles()
  files.put('image')
  const storage = { driver: 'testkit-file', name: 'image' }
  await using graph = new Graph({ drivers: [qcow, files.driver] })
  await graph.createUnchecked({ driver: 'qcow', size, file: storage })
  const disk = await graph.addUnchecked({ driver: 'qcow', file: storage })
  const expected = new Uint8Array(size)
  const work: Promise<void>[] = []
  for (let i = 0; i < 64; i++) {
    expected.fill(i + 1, i * clusterSize, (i + 1) * clusterSize)
    work.push(disk.write(i * clusterSize, new Uint8Array(clusterSize).fill(i + 1), Flag.Compressed))
    if (i % 5 === 0) work.push(disk.flush())
    if (i % 7 === 0) await Promise.all(work.splice(0, 3))
  }
  await Promise.all(work)
  await disk.close()
  const again = await graph.addUnchecked({ driver: 'qcow', readOnly: true, file: storage })
  const buf = new Uint8Array(size)
  await again.read(0, buf)
  expect(Buffer.compare(buf, expected)).toBe(0)
})
