import { describe, expect, it } from 'vitest'
import { create, Folder, haveQemu, newGraph, open, qemuCheck, run } from './images.ts'

const MiB = 1024 * 1024

function filled(length: number, value: number): Uint8Array {
  return new Uint8Array(length).fill(value)
}

describe('snapshots', () => {
  it('a snapshot keeps what the disk was, and applying it brings that back', async () => {
    using folder = new Folder()
    const name = folder.file('a.qcow2')
    await using graph = newGraph()
    await create(graph, name, { size: 4 * MiB })
    const disk = await open(graph, name)
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
    await disk.close()
    if (haveQemu) expect(qemuCheck(name)).toMatchObject({ code: 0 })
  })
})
