/** Tables that the header places far behind the end of the file: writing there would blow the file up. */
import { Flag } from '@diskgraph/core'
import { describe, expect, it } from 'vitest'
import { type FakeFile, type FakeImage, fakeImage } from '../fake-file.ts'

const cluster = 65536
const MiB = 1024 * 1024
const far = 0x000f_a000_0000_0000n
const data = (length: number, value = 1) => new Uint8Array(length).fill(value)

/** An image with data and a snapshot, whose field at `field` of the header points far away. */
async function damaged(field: number): Promise<FakeFile> {
  const { image, file } = await fakeImage()
  await image.write(0, data(cluster), 0)
  await image.snapshots.create({ name: 'one' })
  await image.close()
  new DataView(file.bytes.buffer).setBigUint64(field, far)
  return file
}

const fields = { L1: 40, Refcount: 48, Snapshot: 64 }

type Work = (image: FakeImage['image']) => Promise<unknown>

const writes: Readonly<Record<string, Work>> = {
  'a write': (image) => image.write(4 * cluster, data(512), 0),
  'a compressed write': (image) => image.write(4 * cluster, data(cluster), Flag.Compressed),
  zeroes: (image) => image.writeZeroes(4 * cluster, cluster, 0),
  'a snapshot': (image) => image.snapshots.create({ name: 'two' }),
  'a snapshot that is applied': (image) => image.snapshots.apply('one'),
  'a snapshot that is deleted': (image) => image.snapshots.delete('one'),
  growth: (image) => image.truncate(32 * 1024 * MiB, { preallocation: 'off', exact: false }),
}

const others: Readonly<Record<string, Work>> = {
  'a discard': (image) => image.discard(0, cluster),
  shrinking: (image) => image.truncate(cluster, { preallocation: 'off', exact: false }),
  emptying: (image) => image.makeEmpty(),
  'a change of the refcount width': (image) => image.amend({ options: { refcountBits: 64 }, force: false }),
  'a repair': (image) => image.check({ repair: 'all' }),
}

describe.each(['none', 'cached', 'all'])('with overlap checks %s', (overlapCheck) => {
  for (const table of ['L1', 'Refcount'] as const) {
    for (const [name, work] of Object.entries(writes)) {
      it(`${name} finds out that the ${table} table is far behind the end of the file`, async () => {
        const file = await damaged(fields[table])
        const { bytes } = file
        const before = bytes.slice()
        const { image, state } = await fakeImage({}, { overlapCheck }, { file })
        const message = `${table} table offset 0xfa00000000000 far behind the end of the file`
        await expect(work(image)).rejects.toMatchObject({ code: 'EIO', message })
        expect(state.corruption.broken).toBe(true)
        await image.close()
        before[79] = 2
        expect(Buffer.compare(file.bytes, before)).toBe(0)
      })
    }
  }

  for (const [table, field] of Object.entries(fields)) {
    for (const [name, work] of Object.entries(others)) {
      it(`the file neither grows to a ${table} table far behind its end nor is cut, by ${name}`, async () => {
        const file = await damaged(field)
        const { size } = file
        const { image } = await fakeImage({}, { overlapCheck }, { file })
        await work(image).catch(() => undefined)
        await image.close()
        expect(file.size - size).toBeLessThan(4 * cluster)
        if (table === 'Refcount') expect(file.size).toBeGreaterThanOrEqual(size)
      })
    }
  }

  it('a snapshot table far behind the end of the file hinders no write', async () => {
    const file = await damaged(fields.Snapshot)
    const { image } = await fakeImage({}, { overlapCheck }, { file })
    await image.write(0, data(cluster, 7), 0)
    await image.close()
    const again = await fakeImage({}, {}, { file })
    const got = new Uint8Array(cluster)
    await again.image.read(0, got, 0)
    expect(got).toEqual(data(cluster, 7))
    expect(file.size).toBeLessThan(MiB)
  })
})
