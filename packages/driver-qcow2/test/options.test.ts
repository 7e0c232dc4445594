import { Flag } from '@diskgraph/core'
import { describe, expect, it } from 'vitest'
import { geometryOf } from '../src/header/layout.ts'
import { checkCreateOptions } from '../src/new-image.ts'
import { runtimeOptions } from '../src/options.ts'
import { fakeImage } from './fake-file.ts'
import { create, Folder, newGraph, open } from './images.ts'

const defaults = {
  size: 1024 ** 3,
  clusterSize: 65536,
  refcountBits: 16,
  compat: 'v3',
  preallocation: 'off',
  compressionType: 'zlib',
}

describe('create options', () => {
  it.each([
    [{ clusterSize: 1000 }, 'Cluster size must be a power of two between 512 and 2048k'],
    [{ clusterSize: 4194304 }, 'Cluster size must be a power of two between 512 and 2048k'],
    [{ refcountBits: 3 }, 'Refcount width must be a power of two and may not exceed 64 bits'],
    [{ refcountBits: 128 }, 'Refcount width must be a power of two and may not exceed 64 bits'],
    [
      { refcountBits: 32, compat: 'v2' },
      'Different refcount widths than 16 bits require compatibility level 1.1 or above (use version=v3 or greater)',
    ],
    [
      { lazyRefcounts: true, compat: '0.10' },
      'Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or greater)',
    ],
    [
      { preallocation: 'metadata', backingFile: 'a' },
      'Backing file and preallocation can only be used at the same time if extended_l2 is on',
    ],
    [
      { clusterSize: 512, size: 129 * 1024 ** 3 },
      "The image size is too large for file format 'qcow2' (try using a larger cluster size)",
    ],
    [{ encrypt: { keySecret: 's' } }, "Parameter 'encrypt.format' is missing"],
    [{ encryption: true, encrypt: { format: 'luks' } }, "can't be used at the same time"],
    [{ dataFile: 'a', compat: 'v2' }, 'External data files are only supported with compatibility level 1.1 and above'],
    [{ dataFileRaw: true }, 'data-file-raw requires data-file'],
    [{ dataFile: 'a', dataFileRaw: true, backingFile: 'b' }, 'Backing file and data-file-raw cannot be used at'],
    [{ extendedL2: true, compat: 'v2' }, 'Extended L2 entries are only supported with compatibility level 1.1 and'],
    [{ extendedL2: true, clusterSize: 8192 }, 'Extended L2 entries are only supported with cluster sizes of at least'],
    [
      { compressionType: 'zstd', compat: 'v2' },
      'Non-zlib compression type is only supported with compatibility level 1.1',
    ],
  ])('%o are refused', (options, message) => {
    expect(() => checkCreateOptions({ ...defaults, ...options })).toThrow(message)
  })
})

describe('cache options', () => {
  const geometry = geometryOf(16, 4)
  const sizes = (given: object) => {
    const { l2Slices, l2SliceSize, refcountBlocks } = runtimeOptions(given, geometry, 2 ** 40, false)
    return [l2Slices * l2SliceSize, refcountBlocks * 65536]
  }

  it('default to 32 MiB and four clusters', () => {
    expect(sizes({})).toEqual([32 * 2 ** 20, 4 * 65536])
  })

  it('share a total', () => {
    expect(sizes({ cacheSize: 2 ** 20 })).toEqual([2 ** 20 - 4 * 65536, 4 * 65536])
    expect(sizes({ cacheSize: 2 ** 20, refcountCacheSize: 2 ** 19 })).toEqual([2 ** 19, 2 ** 19])
    expect(sizes({ cacheSize: 2 ** 20, l2CacheSize: 2 ** 19 })).toEqual([2 ** 19, 2 ** 19])
  })

  it.each([
    [
      { cacheSize: 9, l2CacheSize: 1, refcountCacheSize: 1 },
      'cache-size, l2-cache-size and refcount-cache-size may not be set at the same time',
    ],
    [{ cacheSize: 9, l2CacheSize: 10 }, 'l2-cache-size may not exceed cache-size'],
    [{ cacheSize: 9, refcountCacheSize: 10 }, 'refcount-cache-size may not exceed cache-size'],
    [{ cacheCleanInterval: -1 }, 'Cache clean interval too big'],
    [{ cacheCleanInterval: 2 ** 32 }, 'Cache clean interval too big'],
    [{ l2CacheEntrySize: 1000 }, 'L2 cache entry size must be a power of two between 512 and the cluster size (65536)'],
    [
      { l2CacheEntrySize: 131072 },
      'L2 cache entry size must be a power of two between 512 and the cluster size (65536)',
    ],
  ])('%o are refused', (given, message) => {
    expect(() => sizes(given)).toThrow(message)
  })
})

describe('overlap checks', () => {
  it.each(['foo', { template: 'foo' }])('%o are refused', async (overlapCheck) => {
    using folder = new Folder()
    await using graph = newGraph()
    await create(graph, folder.file('a'), { size: 1024 ** 2 })
    const allowed = 'Allowed are any of the following: none, constant, cached, all'
    await expect(open(graph, folder.file('a'), { overlapCheck })).rejects.toThrow(
      `Unsupported value 'foo' for qcow2 option 'overlap-check'. ${allowed}`,
    )
  })
})

const cluster = 65536

describe('discards', () => {
  async function discards(options: Record<string, unknown>): Promise<string[]> {
    const { image, file } = await fakeImage({}, options)
    await image.write(0, new Uint8Array(2 * cluster).fill(1), 0)
    await image.flush()
    file.take()
    await image.discard(0, cluster)
    await image.flush()
    return file.take().filter((call) => call.startsWith('discard'))
  }

  it('of the guest are passed on, or not', async () => {
    expect(await discards({})).toEqual(['discard 0x50000+65536'])
    expect(await discards({ passDiscardRequest: false })).toEqual([])
  })

  it('leave the clusters allocated with discard-no-unref', async () => {
    const { image, state } = await fakeImage({}, { discardNoUnref: true })
    await image.write(0, new Uint8Array(cluster).fill(1), 0)
    await image.discard(0, cluster)
    await image.flush()
    expect(await state.refcounts.get(5)).toBe(1)
    expect(await image.blockStatus(0, cluster)).toMatchObject({ zero: true, allocated: true, offset: 0x50000 })
  })

  it('zero flags keep the cluster, unless it may be unmapped', async () => {
    const { image, state } = await fakeImage()
    await image.write(0, new Uint8Array(2 * cluster).fill(1), 0)
    await image.writeZeroes(0, cluster, 0)
    await image.writeZeroes(cluster, cluster, Flag.MayUnmap)
    await image.flush()
    expect(await state.refcounts.get(5)).toBe(1)
    expect(await state.refcounts.get(6)).toBe(0)
  })
})

describe('reopening', () => {
  it('with discards passed on lets them reach the storage, and with discards ignored no longer', async () => {
    const { image, state } = await fakeImage()
    const cache = { direct: false, noFlush: false }
    for (const discard of ['unmap', 'ignore', 'unmap'] as const) {
      const prepared = await image.reopen({ options: {}, readOnly: false, cache, discard })
      prepared.commit()
      expect(state.options.passDiscard.request).toBe(discard === 'unmap')
    }
  })

  it('read-only writes everything, and read-write clears autoclear bits before the next write', async () => {
    const { image, file, state } = await fakeImage({ lazyRefcounts: true })
    await image.write(0, new Uint8Array(cluster).fill(4), 0)
    const cache = { direct: false, noFlush: false }
    const reader = await image.reopen({ options: {}, readOnly: true, cache, discard: 'ignore' })
    reader.commit()
    expect(state.header.dirty).toBe(false)
    expect(state.store.refcountsDirty).toBe(false)
    await state.header.update({ autoclearFeatures: 1n << 9n })
    const writer = await image.reopen({ options: { l2CacheSize: 131072 }, readOnly: false, cache, discard: 'ignore' })
    writer.commit()
    file.take()
    await image.write(100, new Uint8Array(10).fill(5), 0)
    expect(state.header.value.autoclearFeatures).toBe(0n)
    expect(file.take().at(0)).toMatch(/^write 0x(0|200)\+/)
    const got = new Uint8Array(cluster)
    await image.read(0, got, 0)
    expect([got[0], got[100], got[109], got[110]]).toEqual([4, 5, 5, 4])
  })

  it('takes L2 entries of another size at once, and what was changed by then is written', async () => {
    const { image, file, state } = await fakeImage()
    const cache = { direct: false, noFlush: false }
    await image.write(0, new Uint8Array(cluster).fill(4), 0)
    for (const l2CacheEntrySize of [1024, 4096, 65536]) {
      expect(state.store.l2.dirty).toBe(true)
      const options = { l2CacheEntrySize }
      const prepared = await image.reopen({ options, readOnly: false, cache, discard: 'ignore' })
      expect(state.store.l2.dirty).toBe(false)
      prepared.commit()
      expect(state.store.l2.bytes).toBe(0)
      const got = new Uint8Array(cluster)
      file.take()
      await image.read(0, got, 0)
      expect(file.take()[0]).toMatch(new RegExp(`^read 0x40000\\+${l2CacheEntrySize}$`))
      expect(got).toEqual(new Uint8Array(cluster).fill(4))
      await image.write(Math.sqrt(l2CacheEntrySize) * cluster, new Uint8Array(512), 0)
    }
  })

  it('a version 2 image takes no lazy refcounts', async () => {
    using folder = new Folder()
    await using graph = newGraph()
    await create(graph, folder.file('a'), { size: 1024 ** 2, compat: 'v2' })
    await expect(open(graph, folder.file('a'), { lazyRefcounts: true })).rejects.toThrow(
      'Lazy refcounts require a qcow2 image with at least qemu 1.1 compatibility level',
    )
  })
})
