import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Graph } from '@diskgraph/core'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { createImage, openImage, pattern, temporaryFolder } from './support.ts'

vi.mock(import('@diskgraph/posix'), async (original) => ({
  ...(await original()),
  native: () => null,
  nativeUnavailable: () => "Cannot find module 'koffi'",
}))

const folder = temporaryFolder()
const filename = join(folder, 'image')
const MiB = 1024 * 1024

describe('without native access', () => {
  beforeAll(() => writeFileSync(filename, pattern(2 * MiB)))

  it('one warning says what is missing', async () => {
    vi.stubEnv('DISKGRAPH_NATIVE', undefined)
    const warnings: string[] = []
    for (let i = 0; i < 3; i++) await (await openImage(filename, { warnings })).close()
    expect(warnings).toEqual(["image locks and holes are not available: Cannot find module 'koffi'; npm install koffi"])
  })

  it('files are read, written, flushed and resized all the same', async () => {
    const image = await openImage(filename)
    const buf = new Uint8Array(5000)
    await image.read(1000, buf, 0)
    expect(buf).toEqual(pattern(6000).subarray(1000))
    await image.write(100, buf, 0)
    await image.flush()
    await image.truncate(3 * MiB, { preallocation: 'falloc' })
    expect(statSync(filename).blocks * 512).toBeGreaterThanOrEqual(3 * MiB)
    await image.invalidateCache()
    expect(await image.blockStatus(0, MiB)).toMatchObject({ data: true, zero: false, length: MiB })
    await image.close()
  })

  it('zeroes are written out by the core, and discards are dropped', async () => {
    const { file } = await import('../src/index.ts')
    writeFileSync(filename, pattern(MiB))
    const graph = new Graph({ drivers: [file] })
    const disk = await graph.add({ driver: 'file', filename, discard: 'unmap' })
    await disk.writeZeroes(10, 100_000)
    await disk.discard(500_000, 100_000)
    await graph.close()
    const expected = Buffer.from(pattern(MiB))
    expected.fill(0, 10, 100_010)
    expect(Buffer.compare(readFileSync(filename), expected)).toBe(0)
  })

  it('direct access still finds aligned memory', async () => {
    const image = await openImage(filename, { direct: true })
    const buf = new Uint8Array(8192)
    await image.read(0, buf, 0)
    expect(buf.subarray(10, 100_010).every((byte) => byte === 0)).toBe(true)
    await image.close()
  })

  it('locks that are insisted on, and devices, are refused with the reason', async () => {
    await expect(openImage(filename, { locking: 'on' })).rejects.toMatchObject({
      code: 'ENOTSUP',
      message: `cannot lock '${filename}': image locks are not available (Cannot find module 'koffi')`,
    })
  })

  it('files are created with every preallocation', async () => {
    for (const preallocation of ['off', 'falloc', 'full']) {
      const name = join(folder, preallocation)
      await createImage({ filename: name, size: MiB, preallocation })
      expect(statSync(name).size).toBe(MiB)
    }
  })
})
