import { spawnSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { peer } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { Patient } from '../damage.ts'
import { create, Folder, haveQemu, newGraph, open, qemuCheck, run } from '../images.ts'

const KiB = 1024
const MiB = 1024 * KiB

function filled(length: number, value: number): Uint8Array {
  return new Uint8Array(length).fill(value)
}

/** An open image in a temporary folder. */
async function withImage(
  options: Record<string, unknown>,
  work: (disk: Awaited<ReturnType<typeof open>>, name: string) => Promise<void>,
): Promise<void> {
  using folder = new Folder()
  const name = folder.file('a.qcow2')
  await using graph = newGraph()
  await create(graph, name, { size: 4 * MiB, ...options })
  const disk = await open(graph, name)
  await work(disk, name)
  await disk.close()
  if (haveQemu) expect(qemuCheck(name)).toMatchObject({ code: 0 })
}

describe('snapshots', () => {
  it('a snapshot keeps what the disk was, and applying it brings that back', () =>
    withImage({}, async (disk) => {
      await disk.write(0, filled(MiB, 1))
      await disk.snapshots.create({ name: 'one' })
      await disk.write(65536, filled(65536 * 3, 2))
      await disk.snapshots.create({ name: 'two' })
      await disk.write(0, filled(512, 3))
      expect(disk.snapshots.list().map(({ id, name }) => `${id} ${name}`)).toEqual(['1 one', '2 two'])
      const buf = new Uint8Array(MiB)
      await disk.snapshots.apply('one')
      await disk.read(0, buf)
      expect(Buffer.compare(buf, filled(MiB, 1))).toBe(0)
      await disk.snapshots.apply('2')
      await disk.read(0, buf)
      expect([buf[0], buf[65536], buf[65536 * 4]]).toEqual([1, 2, 1])
      await disk.snapshots.delete('one')
      await disk.read(0, buf)
      expect([buf[0], buf[65536], buf[65536 * 4]]).toEqual([1, 2, 1])
      await disk.write(0, filled(4 * MiB, 9))
      await disk.snapshots.delete('two')
      await disk.read(0, buf)
      expect(Buffer.compare(buf, filled(MiB, 9))).toBe(0)
    }))

  it('everything that a snapshot records comes back, over a close', async () => {
    using folder = new Folder()
    const name = folder.file('a')
    await using graph = newGraph()
    await create(graph, name, { size: MiB })
    const disk = await open(graph, name)
    const wanted = {
      id: 'seven',
      name: 'Jürgen',
      vmStateSize: 5_000_000_000,
      dateSeconds: 1_600_000_000,
      dateNanoseconds: 123_456_789,
      vmClockNanoseconds: 98_765_432_100,
      icount: 77,
    }
    expect(await disk.snapshots.create(wanted)).toEqual({ ...wanted, diskSize: MiB })
    await disk.close()
    const again = await open(graph, name)
    expect(again.snapshots.list()).toEqual([{ ...wanted, diskSize: MiB }])
    await again.close()
  })

  it('a new id is one more than the largest, and one that exists is refused', () =>
    withImage({}, async (disk) => {
      await disk.snapshots.create({ name: 'a', id: '41' })
      await disk.snapshots.create({ name: 'b', id: 'x' })
      expect((await disk.snapshots.create({ name: 'c' })).id).toBe('42')
      await expect(disk.snapshots.create({ name: 'd', id: 'x' })).rejects.toMatchObject({ code: 'EEXIST' })
    }))

  it('a snapshot is looked up by its id before its name', () =>
    withImage({}, async (disk) => {
      await disk.snapshots.create({ name: '2' })
      await disk.snapshots.create({ name: '1' })
      await disk.snapshots.delete('1')
      expect(disk.snapshots.list().map(({ name }) => name)).toEqual(['1'])
      await expect(disk.snapshots.delete('3')).rejects.toMatchObject({ code: 'ENOENT' })
      await expect(disk.snapshots.apply('3')).rejects.toMatchObject({ code: 'ENOENT' })
    }))

  it('applying a snapshot of another size resizes the disk', () =>
    withImage({ clusterSize: 4096 }, async (disk) => {
      await disk.write(0, filled(4 * MiB, 1))
      await disk.snapshots.create({ name: 'small' })
      await disk.truncate(64 * MiB)
      await disk.write(60 * MiB, filled(MiB, 2))
      await disk.snapshots.create({ name: 'large' })
      await disk.snapshots.apply('small')
      expect(disk.size).toBe(4 * MiB)
      await disk.snapshots.apply('large')
      expect(disk.size).toBe(64 * MiB)
      const buf = new Uint8Array(MiB)
      await disk.read(60 * MiB, buf)
      expect(Buffer.compare(buf, filled(MiB, 2))).toBe(0)
    }))

  it('a snapshot can be shown through a read-only image, with the size that the disk had', async () => {
    using folder = new Folder()
    const name = folder.file('a')
    await using graph = newGraph()
    await create(graph, name, { size: MiB })
    const disk = await open(graph, name)
    await disk.write(0, filled(MiB, 1))
    await disk.snapshots.create({ name: 'one' })
    await disk.write(0, filled(MiB, 2))
    await disk.truncate(2 * MiB)
    await expect(disk.snapshots.load('one')).rejects.toMatchObject({ code: 'EINVAL' })
    await disk.close()
    const shown = await open(graph, name, { readOnly: true })
    await shown.snapshots.load('one')
    expect(shown.size).toBe(MiB)
    const buf = new Uint8Array(MiB)
    await shown.read(0, buf)
    expect(Buffer.compare(buf, filled(MiB, 1))).toBe(0)
    await expect(shown.snapshots.delete('one')).rejects.toMatchObject({ code: 'EROFS' })
    await shown.close()
  })

  it('the VM state belongs to the snapshot, and costs the disk nothing afterwards', () =>
    withImage({}, async (disk) => {
      const { vmState } = disk.node.image
      await disk.write(0, filled(65536, 1))
      await vmState!.write(0, filled(3 * MiB, 5))
      await vmState!.write(3 * MiB, filled(1000, 6))
      await disk.snapshots.create({ name: 'one', vmStateSize: 3 * MiB + 1000 })
      const buf = filled(3 * MiB + 1000, 9)
      await vmState!.read(0, buf)
      expect(Buffer.compare(buf, new Uint8Array(buf.length))).toBe(0)
      await vmState!.write(0, filled(MiB, 7))
      await disk.snapshots.apply('one')
      await vmState!.read(0, buf)
      expect(buf.subarray(0, 3 * MiB).every((byte) => byte === 5)).toBe(true)
      expect(buf.subarray(3 * MiB).every((byte) => byte === 6)).toBe(true)
    }))

  it('the info tells that VM state begins where the L2 tables of the disk end', () =>
    withImage({ clusterSize: 4096, size: 3 * MiB }, async (disk) => {
      expect(await disk.node.info()).toMatchObject({ vmStateOffset: 4 * MiB })
    }))

  it('a count that does not fit refuses the snapshot and changes nothing', () =>
    withImage({ refcountBits: 1 }, async (disk, name) => {
      await disk.write(0, filled(MiB, 1))
      await disk.flush()
      await expect(disk.snapshots.create({ name: 'a' })).rejects.toMatchObject({ code: 'EINVAL' })
      expect(disk.snapshots.list()).toEqual([])
      await disk.write(MiB, filled(MiB, 2))
      await disk.flush()
      if (haveQemu) expect(qemuCheck(name)).toMatchObject({ code: 0 })
    }))

  it('an empty disk can have snapshots', () =>
    withImage({ size: 0 }, async (disk) => {
      await disk.snapshots.create({ name: 'nothing' })
      await disk.truncate(MiB)
      await disk.write(0, filled(MiB, 1))
      await disk.snapshots.apply('nothing')
      expect(disk.size).toBe(0)
      await disk.snapshots.delete('nothing')
    }))

  it('snapshots of a disk that nobody writes share its tables', () =>
    withImage({ size: 64 * MiB, clusterSize: 4096 }, async (disk, name) => {
      await disk.write(0, filled(32 * MiB, 1))
      await disk.snapshots.create({ name: 'first' })
      await disk.flush()
      const { size } = statSync(name)
      for (let i = 0; i < 20; i++) await disk.snapshots.create({ name: `${i}` })
      await disk.flush()
      expect(statSync(name).size - size).toBeLessThan(32 * 4096)
    }))
})

const { describe: withPeer } = peer('qemu-img', { describe, it })

withPeer('snapshots and qemu-img', () => {
  it('lists ours as its own', async () => {
    using folder = new Folder()
    const [ours, theirs] = [folder.file('ours'), folder.file('theirs')]
    await using graph = newGraph()
    await create(graph, ours, { size: MiB })
    run('qemu-img', 'create', '-q', '-f', 'qcow2', theirs, '1M')
    const disk = await open(graph, ours)
    const tidy = (text: string): string => text.replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, 'date')
    for (const name of ['one', '', 'ümläut', 'y'.repeat(300)]) {
      await disk.snapshots.create({ name, icount: 0 })
      run('qemu-img', 'snapshot', '-c', name, theirs)
    }
    await disk.close()
    expect(tidy(run('qemu-img', 'snapshot', '-l', ours))).toBe(tidy(run('qemu-img', 'snapshot', '-l', theirs)))
  })

  it('keeps extra data of snapshots that nobody here knows', async () => {
    using folder = new Folder()
    const name = folder.file('a')
    run('qemu-img', 'create', '-q', '-f', 'qcow2', name, '1M')
    run('qemu-img', 'snapshot', '-c', 'a', name)
    const image = new Patient(name)
    // One entry of 40 + 24 bytes, id '1' and name 'a': the extra data grows by 8 bytes.
    const table = image.snapshotTable
    image.set(table + 36, 32, 4)
    image.set(table + 64, 0x1122334455667788n)
    image.set(table + 72, 0x3161n << 48n)
    await using graph = newGraph()
    const disk = await open(graph, name)
    expect(disk.snapshots.list()).toMatchObject([{ id: '1', name: 'a', diskSize: MiB }])
    await disk.snapshots.create({ name: 'b' })
    await disk.close()
    expect(image.get(image.snapshotTable + 64)).toBe(0x1122334455667788n)
    expect(run('qemu-img', 'snapshot', '-l', name)).toContain('a ')
    expect(qemuCheck(name)).toMatchObject({ code: 0 })
  })

  it('damaged snapshots are refused with the same words', async () => {
    const harms: Record<string, (image: Patient) => void> = {
      'too much extra data': (i) => i.set(i.snapshotTable + 36, 0x1000, 4),
      'too many': (i) => i.set(60, 0x20000, 4),
      'a misplaced table': (i) => i.set(64, i.snapshotTable + 512),
    }
    for (const [what, harm] of Object.entries(harms)) {
      using folder = new Folder()
      const name = folder.file('a')
      run('qemu-img', 'create', '-q', '-f', 'qcow2', name, '1M')
      run('qemu-img', 'snapshot', '-c', 'one', name)
      harm(new Patient(name))
      const { stderr } = spawnSync('qemu-img', ['info', '-f', 'qcow2', name], { encoding: 'utf8' })
      const text = stderr.split('\n')[0]!.replace(/^qemu-img: Could not open '.*?': /, '')
      await using graph = newGraph()
      const error = await open(graph, name).then(
        () => new Error('opened'),
        (reason: Error) => reason,
      )
      expect(error.message, what).toContain(text)
    }
  })

  it('a snapshot whose L1 table is damaged is refused, and the image goes on', async () => {
    using folder = new Folder()
    const name = folder.file('a')
    run('qemu-img', 'create', '-q', '-f', 'qcow2', name, '1M')
    run('qemu-img', 'snapshot', '-c', 'one', name)
    const image = new Patient(name)
    const table = image.snapshotTable
    for (const [harm, message] of [
      [() => image.set(table, image.get(table) + 512n), 'Snapshot L1 table offset invalid'],
      [() => image.set(table + 8, 0x10000000, 4), 'Snapshot L1 table too large'],
    ] as const) {
      const saved = readFileSync(name)
      harm()
      await using graph = newGraph()
      const disk = await open(graph, name)
      for (const work of [() => disk.snapshots.apply('one'), () => disk.snapshots.delete('one')]) {
        await expect(work()).rejects.toThrow(message)
      }
      await disk.write(0, filled(512, 1))
      await disk.close()
      image.set(table, saved.readBigUInt64BE(table))
      image.set(table + 8, saved.readUInt32BE(table + 8), 4)
    }
  })
})
