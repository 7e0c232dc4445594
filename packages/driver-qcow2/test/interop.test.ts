import { readFileSync, statSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { create, Folder, haveQemu, newGraph, open, qemuCheck, run } from './images.ts'

const clusterBits = [9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21]
const refcountBits = [1, 2, 4, 8, 16, 32, 64]
const geometries = [
  ...clusterBits.map((bits, i) => ({ clusterSize: 2 ** bits, refcountBits: refcountBits[i % 7]! })),
  ...refcountBits.map((bits) => ({ clusterSize: 512, refcountBits: bits })),
  ...refcountBits.map((bits) => ({ clusterSize: 65536, refcountBits: bits })),
]

function pattern(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = (seed + i * 7 + (i >> 8)) & 0xff
  return bytes
}

describe.skipIf(!haveQemu)('images and the real tools', () => {
  for (const geometry of geometries) {
    const { clusterSize, refcountBits } = geometry
    it(`an image of ${clusterSize}-byte clusters and ${refcountBits}-bit refcounts is read back and checks clean`, async () => {
      using folder = new Folder()
      const name = folder.file('a.qcow2')
      const size = 6 * 1024 * 1024 + 512
      await using graph = newGraph()
      await create(graph, name, { size, ...geometry })
      const disk = await open(graph, name)
      const expected = new Uint8Array(size)
      const put = async (offset: number, bytes: Uint8Array) => {
        await disk.write(offset, bytes)
        expected.set(bytes, offset)
      }
      await put(0, pattern(1_000_000, 1))
      await put(3_000_001, pattern(70_001, 2))
      await put(500_000, pattern(123, 3))
      await Promise.all([
        put(4_000_000, pattern(3000, 4)),
        put(4_003_000, pattern(5000, 5)),
        put(4_008_000, pattern(9, 6)),
      ])
      await put(size - 700, pattern(700, 7))
      await disk.writeZeroes(100_000, 300_000)
      expected.fill(0, 100_000, 400_000)
      const own = new Uint8Array(size)
      await disk.read(0, own)
      expect(Buffer.compare(own, expected)).toBe(0)
      await disk.close()
      expect(qemuCheck(name)).toMatchObject({ code: 0 })
      run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', name, folder.file('a.raw'))
      expect(Buffer.compare(readFileSync(folder.file('a.raw')), expected)).toBe(0)
    })

    it(`an image that qemu-img made with ${clusterSize}-byte clusters and ${refcountBits}-bit refcounts can be used`, async () => {
      using folder = new Folder()
      const name = folder.file('a.qcow2')
      const options = `cluster_size=${clusterSize},refcount_bits=${refcountBits}`
      run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options, name, '4M')
      run('qemu-io', '-c', 'write -P 11 64k 1M', '-c', 'write -P 12 3M 4k', '-c', 'write -z 128k 64k', name)
      await using graph = newGraph()
      const disk = await open(graph, name)
      const got = new Uint8Array(4 * 1024 * 1024)
      await disk.read(0, got)
      const expected = new Uint8Array(got.length)
      expected.fill(11, 65536, 65536 + 1024 * 1024)
      expected.fill(0, 131072, 196608)
      expected.fill(12, 3 * 1024 * 1024, 3 * 1024 * 1024 + 4096)
      expect(Buffer.compare(got, expected)).toBe(0)
      await disk.write(100_000, pattern(2_000_000, 9))
      await disk.close()
      expect(qemuCheck(name)).toMatchObject({ code: 0 })
    })
  }

  it('a new image has the size and the layout of one that qemu-img makes', async () => {
    using folder = new Folder()
    for (const [i, options] of [
      {},
      { clusterSize: 512 },
      { compat: 'v2' },
      { refcountBits: 1 },
      { lazyRefcounts: true },
    ].entries()) {
      const [ours, theirs] = [folder.file(`ours${i}`), folder.file(`theirs${i}`)]
      await using graph = newGraph()
      await create(graph, ours, { size: 100 * 1024 * 1024, ...options })
      const flags = Object.entries(options).map(([key, value]) => {
        const name = key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
        return `${name}=${value === true ? 'on' : value}`
      })
      run(
        'qemu-img',
        'create',
        '-q',
        '-f',
        'qcow2',
        ...(flags.length > 0 ? ['-o', flags.join(',')] : []),
        theirs,
        '100M',
      )
      expect(statSync(ours).size).toBe(statSync(theirs).size)
      expect(Buffer.compare(readFileSync(ours), readFileSync(theirs))).toBe(0)
    }
  })
})
