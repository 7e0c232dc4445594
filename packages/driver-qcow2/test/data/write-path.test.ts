/** Writes that meet each other, the metadata of other writes, damage, and slow storage. */
import { Flag } from '@diskgraph/core'
import { Random, randomSeed } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { fakeImage } from '../fake-file.ts'

const seed = randomSeed()
const cluster = 65536
const data = (length: number, value = 1) => new Uint8Array(length).fill(value)

/** Resolves after some turns of the event loop. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise<void>((resolve) => setImmediate(resolve))
}

describe('overlap checks that have to read tables first', () => {
  it('let the first write in place go on', async () => {
    const { image, file } = await fakeImage()
    await image.write(0, data(cluster), 0)
    await image.snapshots.create({ name: 'one' })
    await image.write(0, data(cluster, 2), 0)
    await image.close()
    const second = await fakeImage({}, { overlapCheck: 'all' }, { file })
    await second.image.write(0, data(512, 3), 0)
    const got = new Uint8Array(1024)
    await second.image.read(0, got, 0)
    expect([got[0], got[512]]).toEqual([3, 2])
  })

  it('let the first zeroes in place go on', async () => {
    const { image, file } = await fakeImage()
    await image.write(0, data(cluster), 0)
    await image.snapshots.create({ name: 'one' })
    await image.write(0, data(cluster, 2), 0)
    await image.close()
    const second = await fakeImage({}, { overlapCheck: 'all' }, { file })
    await second.image.writeZeroes(0, 512, 0)
    const got = new Uint8Array(1024)
    await second.image.read(0, got, 0)
    expect([got[0], got[512]]).toEqual([0, 2])
  })

  it('do not keep a write from being refused that goes far behind the end of the file', async () => {
    const { image, file } = await fakeImage()
    await image.write(0, data(cluster), 0)
    await image.snapshots.create({ name: 'one' })
    await image.write(0, data(cluster, 2), 0)
    await image.close()
    const table = await fakeImage({}, {}, { file })
    const place = table.state.store.l1.offsetAt(0)
    new DataView(file.bytes.buffer).setBigUint64(place, 0x8000_0100_0000_0000n)
    const second = await fakeImage({}, { overlapCheck: 'all' }, { file })
    await expect(second.image.write(0, data(512, 3), 0)).rejects.toMatchObject({ code: 'EIO' })
  })
})

describe(`compressed writes (seed ${seed})`, () => {
  it('of the same clusters wait for each other and end', async () => {
    const random = new Random(seed)
    for (let round = 0; round < 60; round++) {
      const options = round % 2 === 0 ? { cacheSize: 0 } : {}
      const { image, file } = await fakeImage({ clusterSize: 512, size: 1024 * 1024 }, options)
      file.before = () => turns(random.below(4))
      const writes = [1, 2, 3, 4, 5, 6].map(async (value) => {
        await turns(random.below(12))
        const start = random.below(3) * 32768 + random.below(2) * 512
        await image.write(start, data(4 * 512, value), Flag.Compressed).catch((error) => {
          expect(error).toMatchObject({ code: 'EIO' })
        })
      })
      await Promise.all(writes)
      await image.close()
    }
  }, 20_000)
})

describe('an image that is reopened for writing', () => {
  it('clears its autoclear bits for good, whatever is asked of it meanwhile', async () => {
    const { image, file } = await fakeImage()
    await image.close()
    file.bytes[95] = 0x20
    file.readOnly = true
    const reader = await fakeImage({}, {}, { file })
    const change = { options: {}, readOnly: false } as Parameters<typeof reader.image.reopen>[0]
    const reopened = await reader.image.reopen(change)
    reopened.commit()
    file.readOnly = false
    file.before = (call) => (call.startsWith('write 0x0+') ? turns(3) : turns(1))
    await Promise.all([
      reader.image.write(0, data(512), 0),
      reader.image.flush(),
      turns(2).then(() => reader.image.flush()),
    ])
    expect(file.bytes[95]).toBe(0)
    expect(reader.state.header.value.autoclearFeatures).toBe(0n)
    await reader.image.close()
    expect(file.bytes[95]).toBe(0)
  })

  it('keeps both of two changes of the header that meet', async () => {
    const { file, state } = await fakeImage()
    file.before = () => turns(2)
    await Promise.all([
      state.header.setIncompatible(0, true),
      state.header.setIncompatible(1, true),
      state.header.setSize(512),
    ])
    expect(file.bytes[79]).toBe(3)
    expect(state.header.value).toMatchObject({ incompatibleFeatures: 3n, size: 512 })
  })
})

describe('discards that are passed on', () => {
  it('hold up nobody else, and their clusters are not used before they are done', async () => {
    const { image, file } = await fakeImage()
    await image.write(0, data(cluster), 0)
    await image.flush()
    await image.discard(0, cluster)
    let release = () => {}
    file.before = (call) =>
      call.startsWith('discard') ? new Promise<void>((resolve) => (release = resolve)) : undefined
    const flushed = image.flush()
    file.take()
    await image.write(cluster, data(cluster, 3), 0)
    expect(file.take().filter((call) => call.startsWith('write'))).toContain('write 0x60000+65536')
    release()
    await flushed
    await image.write(2 * cluster, data(cluster, 4), 0)
    expect(file.take().at(-1)).toBe('write 0x50000+65536')
  })

  it('do not hit compressed data that shares their cluster', async () => {
    const { image, file, state } = await fakeImage({}, { passDiscardOther: true, passDiscardRequest: true })
    await image.write(0, data(cluster), Flag.Compressed)
    await image.flush()
    await image.discard(0, cluster)
    let release = () => {}
    file.before = (call) =>
      call.startsWith('discard') ? new Promise<void>((resolve) => (release = resolve)) : undefined
    const flushed = image.flush()
    await turns(3)
    await image.write(cluster, data(cluster, 3), Flag.Compressed)
    release()
    await flushed
    state.compressed.clear()
    const got = new Uint8Array(cluster)
    await image.read(cluster, got, 0)
    expect(got.every((byte) => byte === 3)).toBe(true)
  })

  it('that are on their way when the image is closed are waited for', async () => {
    const { image, file, state } = await fakeImage()
    await image.write(0, data(cluster), 0)
    await image.flush()
    await image.discard(0, cluster)
    file.before = (call) => (call.startsWith('discard') ? turns(3) : undefined)
    const flushed = image.flush()
    await image.close()
    expect(await state.refcounts.get(5)).toBe(0)
    await flushed
    expect(await state.refcounts.get(5)).toBe(0)
  })
})

describe('without overlap checks', () => {
  const operations = { data: 0, 'compressed data': Flag.Compressed }
  for (const [name, flags] of Object.entries(operations)) {
    for (const [damage, offset, length] of [
      ['an empty first entry of the refcount table', cluster, 8],
      ['a refcount of 0 for the header', 2 * cluster, 2],
    ] as const) {
      it(`${damage} keeps ${name} from being written over the header`, async () => {
        const { image, file } = await fakeImage()
        await image.close()
        file.bytes.fill(0, offset, offset + length)
        const header = file.bytes.slice(0, 72)
        const second = await fakeImage({}, { overlapCheck: 'none' }, { file })
        await expect(second.image.write(0, data(cluster), flags)).rejects.toThrow('Preventing invalid allocation')
        expect(second.state.corruption.broken).toBe(true)
        expect(file.bytes.slice(0, 72)).toEqual(header)
      })
    }
  }
})

describe('metadata far behind the end of the file', () => {
  const far = 0x000f_a000_0000_0000n
  for (const overlapCheck of ['none', 'cached']) {
    it(`is damage, and the file does not grow to an L2 table there (${overlapCheck})`, async () => {
      const { image, file } = await fakeImage()
      await image.write(0, data(cluster), 0)
      await image.close()
      const table = new DataView(file.bytes.buffer, 3 * cluster)
      for (const flag of [0n, 1n << 63n]) {
        table.setBigUint64(0, far | flag)
        new DataView(file.bytes.buffer).setBigUint64(72, 0n)
        const size = file.size
        const second = await fakeImage({}, { overlapCheck }, { file })
        await expect(second.image.write(0, data(512), 0)).rejects.toMatchObject({ code: 'EIO' })
        expect(second.state.corruption.broken).toBe(true)
        expect(file.size).toBe(size)
      }
    })

    it(`is damage, and the file does not grow to a refcount block there (${overlapCheck})`, async () => {
      const { image, file } = await fakeImage()
      await image.close()
      new DataView(file.bytes.buffer, cluster).setBigUint64(0, far)
      const size = file.size
      const second = await fakeImage({}, { overlapCheck }, { file })
      await expect(second.image.write(0, data(512), 0)).rejects.toMatchObject({ code: 'EIO' })
      expect(second.state.corruption.broken).toBe(true)
      expect(file.size).toBe(size)
    })
  }
})
