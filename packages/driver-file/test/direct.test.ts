import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Flag, Graph } from '@diskgraph/core'
import { alignedMemory } from '@diskgraph/posix'
import { expect, it } from 'vitest'
import { file } from '../src/index.ts'
import { hasNative, openImage, pattern, temporaryFolder } from './support.ts'

const folder = temporaryFolder()
const MiB = 1024 * 1024
let count = 0

function fileOf(content: Uint8Array): string {
  const filename = join(folder, `d${count++}`)
  writeFileSync(filename, content)
  return filename
}

it('reads and writes past the page cache, whatever the address of the buffer', async () => {
  const data = pattern(3 * MiB)
  const filename = fileOf(data)
  const image = await openImage(filename, { direct: true })
  expect(image.limits.alignment).toBeGreaterThanOrEqual(512)
  const memory = new Uint8Array(2 * MiB + 1)
  const odd = memory.subarray(1)
  await image.read(MiB, odd, 0)
  expect(Buffer.compare(odd, data.subarray(MiB))).toBe(0)
  const even = alignedMemory(MiB, 4096)
  await image.read(MiB, even, 0)
  expect(Buffer.compare(even, data.subarray(MiB, 2 * MiB))).toBe(0)
  odd.set(pattern(2 * MiB, 77))
  await image.write(0, odd, 0)
  await image.flush()
  await image.close()
  expect(Buffer.compare(readFileSync(filename).subarray(0, 2 * MiB), pattern(2 * MiB, 77))).toBe(0)
})

it('takes more requests at a time than it has memory for', async () => {
  const data = pattern(4 * MiB)
  const image = await openImage(fileOf(data), { direct: true })
  const bufs = Array.from({ length: 64 }, () => new Uint8Array(65_537).subarray(1))
  await Promise.all(bufs.map((buf, i) => image.read(i * 65_536, buf, 0)))
  bufs.forEach((buf, i) => {
    expect(Buffer.compare(buf, data.subarray(i * 65_536, (i + 1) * 65_536))).toBe(0)
  })
  await image.close()
})

it('fills the last block of a file that ends inside one with zeroes', async () => {
  const image = await openImage(fileOf(pattern(5000)), { direct: true })
  const unit = image.limits.alignment ?? 512
  const length = Math.ceil(5000 / unit) * unit
  const buf = new Uint8Array(length).fill(255)
  await image.read(0, buf, 0)
  expect(Buffer.compare(buf.subarray(0, 5000), pattern(5000))).toBe(0)
  expect(buf.subarray(5000).every((byte) => byte === 0)).toBe(true)
  const status = await image.blockStatus(0, length)
  expect(status.length % unit).toBe(0)
  await image.close()
})

it('serves unaligned requests through the core, without losing neighbours', async () => {
  const filename = fileOf(pattern(64 * 1024))
  const graph = new Graph({ drivers: [file] })
  const disk = await graph.add({ driver: 'file', filename, cache: { direct: true } })
  const writes = Array.from({ length: 100 }, (_, i) => disk.write(i * 100, new Uint8Array(100).fill(i)))
  await Promise.all(writes)
  const buf = new Uint8Array(777)
  await disk.read(20_001, buf)
  expect(buf).toEqual(pattern(64 * 1024).subarray(20_001, 20_778))
  await graph.close()
  const expected = Buffer.from(pattern(64 * 1024))
  for (let i = 0; i < 100; i++) expected.fill(i, i * 100, i * 100 + 100)
  expect(Buffer.compare(readFileSync(filename), expected)).toBe(0)
})

it('grows files by zeroes and by every preallocation, whatever their old end', async () => {
  for (const preallocation of ['off', 'falloc', 'full'] as const) {
    const filename = fileOf(pattern(1000))
    const image = await openImage(filename, { direct: true })
    await image.truncate(100_001, { preallocation })
    if (hasNative) await image.writeZeroes?.(98_304, 8192, Flag.MayUnmap)
    else await image.truncate(106_496, {})
    expect(image.size).toBe(106_496)
    await image.close()
    const expected = Buffer.alloc(106_496)
    expected.set(pattern(1000))
    expect(Buffer.compare(readFileSync(filename), expected)).toBe(0)
  }
})

it('can be switched on and off by reopening', async () => {
  const filename = fileOf(pattern(64 * 1024))
  const graph = new Graph({ drivers: [file] })
  const disk = await graph.add({ driver: 'file', filename, nodeName: 'disk' })
  await disk.write(10, pattern(100, 3))
  await graph.reopen('disk', { cache: { direct: true } })
  await disk.write(110, pattern(100, 4))
  await graph.reopen('disk', { cache: { direct: false } })
  const buf = new Uint8Array(200)
  await disk.read(10, buf)
  expect(buf).toEqual(Uint8Array.from([...pattern(100, 3), ...pattern(100, 4)]))
  await graph.close()
  truncateSync(filename, 0)
})
