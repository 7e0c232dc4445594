import { describe, expect, it } from 'vitest'
import { fakeImage } from '../fake-file.ts'
import { create, Folder, haveQemu, newGraph, open, qemuCheck, run } from '../images.ts'

const MiB = 1024 * 1024

describe('resizing', () => {
  it.skipIf(!haveQemu).each([512, 65536])(
    'an image of %i-byte clusters stays clean, and keeps what it should',
    async (clusterSize) => {
      using folder = new Folder()
      const name = folder.file('a')
      await using graph = newGraph()
      await create(graph, name, { size: 4 * MiB, clusterSize })
      let disk = await open(graph, name)
      await disk.write(0, new Uint8Array(4 * MiB).fill(5))
      for (const size of [20 * MiB, 3 * MiB + 512, 64 * MiB, 512, 2 * MiB]) {
        await disk.truncate(size)
        expect(disk.size).toBe(size)
        await disk.flush()
        const kept = new Uint8Array(512)
        await disk.read(0, kept)
        expect(kept.every((byte) => byte === 5)).toBe(true)
        const tail = new Uint8Array(Math.min(512, size - 512))
        if (size > 4 * MiB) await disk.read(size - 512, tail)
        expect(tail.every((byte) => byte === 0)).toBe(true)
        await disk.close()
        expect(qemuCheck(name)).toMatchObject({ code: 0 })
        expect(JSON.parse(run('qemu-img', 'info', '--output=json', name))['virtual-size']).toBe(size)
        disk = await open(graph, name)
      }
    },
  )

  it('what shrinking hides does not come back by growing', async () => {
    const { image } = await fakeImage({ size: MiB })
    await image.write(0, new Uint8Array(MiB).fill(9), 0)
    await image.truncate(100_352, {})
    await image.truncate(MiB, {})
    const got = new Uint8Array(MiB)
    await image.read(0, got, 0)
    expect(got.subarray(0, 100_352).every((byte) => byte === 9)).toBe(true)
    expect(got.subarray(100_352).every((byte) => byte === 0)).toBe(true)
  })

  it('growing over a larger backing file shows zeroes', async () => {
    const backing = await fakeImage()
    backing.file.bytes = new Uint8Array(4 * MiB).fill(3)
    const { image } = await fakeImage(
      { size: MiB, backingFile: 'base', backingFmt: 'raw' },
      {},
      { backing: backing.file },
    )
    await image.truncate(3 * MiB, {})
    const got = new Uint8Array(3 * MiB)
    await image.read(0, got, 0)
    expect(got.subarray(0, MiB).every((byte) => byte === 3)).toBe(true)
    expect(got.subarray(MiB).every((byte) => byte === 0)).toBe(true)
  })

  it.skipIf(!haveQemu).each([1_376_256, 1_362_944, 1_572_864])(
    'growing from %i past the end of a backing file maps like the real tools',
    async (size) => {
      using folder = new Folder()
      const [base, ours, theirs] = [folder.file('base'), folder.file('ours'), folder.file('theirs')]
      run('qemu-img', 'create', '-q', '-f', 'raw', base, '1572864')
      const options = `cluster_size=16k,backing_file=${base},backing_fmt=raw`
      for (const name of [ours, theirs])
        run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options, name, String(size))
      run('qemu-img', 'resize', '-q', theirs, '1614336')
      await using graph = newGraph()
      const disk = await open(graph, ours)
      await disk.truncate(1_614_336)
      await disk.close()
      const map = (name: string) => JSON.parse(run('qemu-img', 'map', '--output=json', name))
      expect(map(ours)).toEqual(map(theirs))
    },
  )

  it('the file is cut behind the last cluster in use', async () => {
    const { image, file } = await fakeImage({ size: 16 * MiB })
    await image.write(0, new Uint8Array(16 * MiB).fill(1), 0)
    await image.flush()
    await image.truncate(MiB, {})
    expect(file.size).toBe(0x50000 + MiB)
  })

  it.skipIf(!haveQemu).each(['metadata', 'falloc', 'full'] as const)(
    'a new image with preallocation %s is like that of qemu-img, and a grown part as well',
    async (preallocation) => {
      using folder = new Folder()
      const [ours, theirs] = [folder.file('ours'), folder.file('theirs')]
      await using graph = newGraph()
      await create(graph, ours, { size: 4 * MiB, preallocation })
      run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', `preallocation=${preallocation}`, theirs, '4M')
      const map = (name: string) => JSON.parse(run('qemu-img', 'map', '--output=json', name))
      expect(map(ours)).toEqual(map(theirs))
      const disk = await open(graph, ours)
      await disk.node.truncate(8 * MiB, { preallocation })
      await disk.close()
      run('qemu-img', 'resize', '-q', `--preallocation=${preallocation}`, theirs, '8M')
      expect(qemuCheck(ours)).toMatchObject({ code: 0 })
      const allocated = (name: string) => map(name).every((extent: { present: boolean }) => extent.present)
      expect(allocated(ours)).toBe(true)
      expect(allocated(theirs)).toBe(true)
    },
  )

  it.skipIf(!haveQemu).each(['metadata', 'falloc', 'full'] as const)(
    'growing with preallocation %s keeps what the backing file shows in the last cluster, as qemu-img does',
    async (preallocation) => {
      using folder = new Folder()
      for (const [old, base] of [
        [100, 256],
        [96, 80],
        [200, 130],
        [40, 41],
      ] as const) {
        const [backing, ours, theirs] = [folder.file('base'), folder.file('ours'), folder.file('theirs')]
        run('qemu-img', 'create', '-q', '-f', 'raw', backing, `${base}k`)
        run('qemu-io', '-f', 'raw', '-c', `write -P 7 0 ${base}k`, backing)
        for (const name of [ours, theirs])
          run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', backing, '-F', 'raw', name, `${old}k`)
        await using graph = newGraph()
        const disk = await open(graph, ours)
        await disk.node.truncate(300 * 1024, { preallocation })
        await disk.close()
        run('qemu-img', 'resize', '-q', `--preallocation=${preallocation}`, theirs, '300k')
        expect(qemuCheck(ours)).toMatchObject({ code: 0 })
        expect(run('qemu-img', 'compare', '-f', 'qcow2', '-F', 'qcow2', ours, theirs)).toContain('identical')
        const map = (name: string) =>
          JSON.parse(run('qemu-img', 'map', '--output=json', name)).map(
            ({ offset: _, ...extent }: object & { offset?: number }) => extent,
          )
        // Where only the metadata is there, the real tools look for holes in the file, which differ.
        if (preallocation !== 'metadata' || base > old) expect(map(ours)).toEqual(map(theirs))
      }
    },
  )

  it('refuses sizes that cannot be', async () => {
    const { image } = await fakeImage()
    const refused = (size: number) => expect(image.truncate(size, {})).rejects
    await refused(1000).toMatchObject({ message: 'The new size must be a multiple of 512' })
    await refused(2 ** 52).toMatchObject({ code: 'EFBIG' })
    await expect(image.truncate(512, { preallocation: 'full' })).rejects.toMatchObject({ code: 'EINVAL' })
  })

  it('forgets all data of a layer, so that the backing file shows', async () => {
    const backing = await fakeImage()
    backing.file.bytes = new Uint8Array(MiB).fill(3)
    const { image, file } = await fakeImage(
      { size: MiB, backingFile: 'base', backingFmt: 'raw' },
      {},
      { backing: backing.file },
    )
    await image.write(0, new Uint8Array(MiB).fill(1), 0)
    await image.makeEmpty()
    const got = new Uint8Array(MiB)
    await image.read(0, got, 0)
    expect(got.every((byte) => byte === 3)).toBe(true)
    expect(file.size).toBeLessThanOrEqual(0x50000)
    expect(await image.check({ repair: 'none' })).toMatchObject({ corruptions: 0, leaks: 0 })
  })
})
