import type { ChildHandle } from '@diskgraph/core/driver'
import { describe, expect, it } from 'vitest'
import { readSnapshotTable, type TableFaults } from '../../src/tables/snapshot-table.ts'

/** A file of `bytes`, as far as a table is read from it. */
function fileOf(bytes: Uint8Array): ChildHandle {
  return {
    size: bytes.length,
    read: async (offset: number, buf: Uint8Array) => {
      buf.fill(0)
      buf.set(bytes.subarray(offset, offset + buf.length))
    },
  } as unknown as ChildHandle
}

describe('a snapshot table that is read for a repair', () => {
  it('loses the empty entries and those from the first that reaches too far, and nothing stands in their places', async () => {
    const table = new Uint8Array(4096)
    const view = new DataView(table.buffer)
    // Entry 0 is empty, entry 1 has an id and a name, entry 2 is empty, and entry 3 says that it is 2 GiB long.
    view.setUint16(40 + 12, 1)
    view.setUint16(40 + 14, 2)
    table.set(new TextEncoder().encode('1ab'), 80)
    const fourth = 40 + 48 + 40
    view.setUint32(fourth + 36, 0x7fffffff)
    const faults: TableFaults = { longExtra: [], incomplete: [], empty: 0, overhanging: 0, tooBig: 0 }
    const { records } = await readSnapshotTable(fileOf(table), 0, 9, faults)
    expect(records.map(({ name }) => name)).toEqual(['ab'])
    expect(records).toHaveLength(1)
    expect(faults).toMatchObject({ empty: 2, overhanging: 0, tooBig: 6 })
  })

  it('tells entries that are too many from those that reach too far', async () => {
    const table = new Uint8Array(4096)
    new DataView(table.buffer).setUint32(36, 0x7fffffff)
    const faults: TableFaults = { longExtra: [], incomplete: [], empty: 0, overhanging: 0, tooBig: 0 }
    await readSnapshotTable(fileOf(table), 0, 65536 + 3, faults)
    expect(faults).toMatchObject({ overhanging: 3, tooBig: 65536 })
  })
})

describe('the texts of a snapshot', () => {
  it('end at a NUL, and are kept as they are', async () => {
    const table = new Uint8Array(64)
    const view = new DataView(table.buffer)
    view.setUint16(12, 2)
    view.setUint16(14, 4)
    table.set(new TextEncoder().encode('1\0ab\0c'), 40)
    const { records } = await readSnapshotTable(fileOf(table), 0, 1)
    expect(records).toMatchObject([{ id: '1', name: 'ab' }])
    expect([...(records[0]?.nameBytes ?? [])]).toEqual([97, 98, 0, 99])
  })
})
