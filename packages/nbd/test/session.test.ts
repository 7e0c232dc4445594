import { isBlockError, type Node } from '@diskgraph/core'
import { AllocationState, CommandFlag, connectSocket, listExports, TransmissionFlag } from '@diskgraph/nbd'
import { describe, expect, it } from 'vitest'
import { Served } from './served.ts'

const pattern = (length: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => ((i * 7 + seed) % 251) + 1)

describe('a client of a server', () => {
  it('reads what it has written', async () => {
    await using served = await Served.start()
    await using client = await served.client()
    const data = pattern(100_000)
    await client.write(12_345, data)
    const buf = new Uint8Array(100_002)
    await client.read(12_344, buf)
    expect(buf[0]).toBe(0)
    expect(buf.subarray(1, -1)).toEqual(data)
    expect(buf[100_001]).toBe(0)
  })

  it('reads data and holes by turns, whatever is in them', async () => {
    await using served = await Served.start()
    await using client = await served.client()
    const expected = new Uint8Array(300_000)
    for (const [offset, length] of [
      [0, 1],
      [8_192, 4_096],
      [20_480, 100],
      [65_536, 65_536],
      [299_999, 1],
    ] as const) {
      const data = pattern(length, offset)
      await client.write(offset, data)
      expected.set(data, offset)
    }
    for (const [offset, length] of [
      [0, 300_000],
      [1, 65_000],
      [4_096, 4_096],
      [8_191, 4_098],
      [24_576, 8_192],
      [299_990, 10],
      [1, 1],
      [1, 3],
    ] as const) {
      const buf = new Uint8Array(length).fill(0xee)
      await client.read(offset, buf)
      expect(buf).toEqual(expected.subarray(offset, offset + length))
    }
  })

  it('has many requests under way at once', async () => {
    await using served = await Served.start()
    await using client = await served.client()
    const data = pattern(1_048_576)
    await Promise.all(
      Array.from({ length: 256 }, (_, i) => client.write(i * 4096, data.subarray(i * 4096, (i + 1) * 4096))),
    )
    const bufs = await Promise.all(
      Array.from({ length: 300 }, async (_, i) => {
        const buf = new Uint8Array(1000 + i)
        await client.read(i * 3000, buf)
        return buf
      }),
    )
    for (const [i, buf] of bufs.entries()) expect(buf).toEqual(data.subarray(i * 3000, i * 3000 + 1000 + i))
  })

  it('zeroes and trims', async () => {
    await using served = await Served.start()
    await using client = await served.client()
    await client.write(0, pattern(10_000))
    await client.writeZeroes(1_000, 2_000, CommandFlag.NBD_CMD_FLAG_FUA)
    await client.trim(8_000, 1_000)
    await client.flush()
    const buf = new Uint8Array(2_000)
    await client.read(1_000, buf)
    expect(buf).toEqual(new Uint8Array(2_000))
  })

  it('is told of holes', async () => {
    await using served = await Served.start({}, { allocationDepth: true })
    await using client = await served.client({ contexts: ['base:allocation', 'qemu:allocation-depth'] })
    await client.write(65_536, pattern(65_536))
    const status = await client.blockStatus(0, 1_048_576)
    const hole = AllocationState.NBD_STATE_HOLE | AllocationState.NBD_STATE_ZERO
    expect(status.get('base:allocation')).toEqual([
      { length: 65_536, flags: hole },
      { length: 65_536, flags: 0 },
      { length: 917_504, flags: hole },
    ])
    expect(status.get('qemu:allocation-depth')?.reduce((sum, { length }) => sum + length, 0)).toBe(1_048_576)
    const one = await client.blockStatus(70_000, 500_000, true)
    expect(one.get('base:allocation')).toEqual([{ length: 61_072, flags: 0 }])
  })

  it('is told of dirty ranges', async () => {
    await using served = await Served.start()
    const node = served.graph.find('disk')
    const bitmap = node?.addDirtyBitmap(4096, 'b0')
    await served.server.exports.add('disk', { name: 'dirty', writable: true, bitmaps: ['b0'] })
    await using client = await served.client({ exportName: 'dirty', contexts: ['qemu:dirty-bitmap:b0'] })
    await client.write(10_000, pattern(1))
    const status = await client.blockStatus(0, 20_000)
    expect(status.get('qemu:dirty-bitmap:b0')).toEqual([
      { length: 8192, flags: 0 },
      { length: 4096, flags: 1 },
      { length: 7712, flags: 0 },
    ])
    expect(bitmap?.dirtyBytes).toBe(4096)
  })

  it('is refused what passes the end, and goes on', async () => {
    await using served = await Served.start()
    await using client = await served.client()
    await expect(client.read(1_048_575, new Uint8Array(2))).rejects.toMatchObject({
      code: 'EINVAL',
      message: expect.stringContaining('operation past EOF; From: 1048575, Len: 2, Size: 1048576'),
    })
    await expect(client.write(1_048_576, new Uint8Array(1))).rejects.toMatchObject({ code: 'EINVAL' })
    await client.read(0, new Uint8Array(1))
  })

  it('may not change an export that is read-only', async () => {
    await using served = await Served.start({}, { writable: false })
    await using client = await served.client()
    expect(client.readOnly).toBe(true)
    expect(client.can(TransmissionFlag.NBD_FLAG_CAN_MULTI_CONN)).toBe(true)
    await expect(client.write(0, new Uint8Array(1))).rejects.toThrow('Export is read-only')
    await expect(client.trim(0, 1)).rejects.toThrow('Export is read-only')
  })

  it('hears that an export is not there', async () => {
    await using served = await Served.start()
    const failure = served.client({ exportName: 'nope' })
    await expect(failure).rejects.toMatchObject({
      code: 'ENOENT',
      message: 'Requested export not available',
      hint: "server reported: export 'nope' not present",
    })
  })

  it('sees a list of exports', async () => {
    await using served = await Served.start({}, { description: 'a disk in memory' })
    await served.server.exports.add('disk', { name: 'second' })
    const listed = await listExports(await connectSocket({ path: served.path }))
    expect(listed.map(({ name, description, size, contexts }) => ({ name, description, size, contexts }))).toEqual([
      { name: '', description: 'a disk in memory', size: 1_048_576, contexts: ['base:allocation'] },
      { name: 'second', description: '', size: 1_048_576, contexts: ['base:allocation'] },
    ])
  })

  it('sees the size of a disk that was resized when it comes anew', async () => {
    await using served = await Served.start()
    await using before = await served.client()
    const disk = await served.graph.attach('disk')
    await disk.truncate(2_097_152)
    await disk.close()
    await using after = await served.client()
    expect([before.size, after.size]).toEqual([1_048_576, 2_097_152])
    await after.write(2_000_000, pattern(10))
  })
})

describe('the export table', () => {
  it('keeps an export that is in use, unless it is removed the hard way', async () => {
    await using served = await Served.start()
    await using client = await served.client()
    await expect(served.server.exports.remove('')).rejects.toMatchObject({ code: 'EBUSY' })
    const told: unknown[] = []
    served.graph.onEvent(({ event, data }) => told.push([event, data]))
    await served.server.exports.remove('', 'hard')
    expect(told).toEqual([['BLOCK_EXPORT_DELETED', { id: '' }]])
    await expect(client.read(0, new Uint8Array(1))).rejects.toSatisfy(isBlockError)
    await expect(served.client()).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('refuses ids and names that are taken', async () => {
    await using served = await Served.start()
    const { exports } = served.server
    await expect(exports.add('disk', { name: '' })).rejects.toThrow("id '' is already in use")
    await expect(exports.add('disk', { id: 'x', name: '' })).rejects.toThrow("already has export named ''")
    await expect(exports.add('disk', { name: 'n'.repeat(4097) })).rejects.toMatchObject({ code: 'EINVAL' })
    await expect(exports.add('nodisk')).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(exports.add('disk', { name: 'b', bitmaps: ['b'] })).rejects.toThrow("Bitmap 'b' is not found")
  })

  it('refuses a bitmap that nobody knows the bits of, by name or as it is', async () => {
    await using served = await Served.start()
    const { exports } = served.server
    const bitmap = (served.graph.find('disk') as Node).addDirtyBitmap(65536, 'lost')
    bitmap.inconsistent = true
    for (const bitmaps of [['lost'], [bitmap]]) {
      await expect(exports.add('disk', { name: 'b', writable: true, bitmaps })).rejects.toMatchObject({
        message: "Bitmap 'lost' is inconsistent and cannot be used",
        hint: expect.stringContaining('Export the disk without it, or remove it'),
      })
    }
  })
})
