import { describe, expect, it } from 'vitest'
import { filled, firstByte, open } from './stack.ts'

const one = { content: filled(1) }
const two = { content: filled(2) }
const broken = (errno: number, content = filled(1)) => ({ content, errors: [{ event: 'none', errno } as const] })

describe('reading from a quorum', () => {
  it('gives what the majority has, and reports the others', async () => {
    const { graph, disk, events } = await open({ voteThreshold: 2 }, [one, two, one])
    expect(await firstByte(disk, 1000, 100)).toBe(1)
    expect(events).toEqual([
      {
        event: 'QUORUM_REPORT_BAD',
        nodeName: 'q',
        data: { type: 'read', nodeName: 'child1', sectorNum: 1, sectorsCount: 2 },
      },
    ])
    await graph.close()
  })

  it('is the same when the first child is in the minority', async () => {
    const { graph, disk, events } = await open({ voteThreshold: 2 }, [two, one, one])
    expect(await firstByte(disk)).toBe(1)
    expect(events.map(({ data }) => data.nodeName)).toEqual(['child0'])
    await graph.close()
  })

  it('fails when no version has enough votes', async () => {
    const { graph, disk, events } = await open({ voteThreshold: 3 }, [one, two, one])
    await expect(firstByte(disk)).rejects.toMatchObject({ code: 'EIO' })
    expect(events).toEqual([
      { event: 'QUORUM_FAILURE', nodeName: 'q', data: { reference: 'q', sectorNum: 0, sectorsCount: 1 } },
    ])
    await graph.close()
  })

  it('of a tie gives the version that comes last', async () => {
    for (const [legs, value] of [
      [[one, two], 2],
      [[one, two, one, two], 2],
      [[two, one, two, one], 1],
    ] as const) {
      const { graph, disk } = await open({ voteThreshold: 1 }, legs)
      expect(await firstByte(disk)).toBe(value)
      await graph.close()
    }
  })

  it('survives a child that fails, and reports its error', async () => {
    const { graph, disk, events } = await open({ voteThreshold: 2 }, [broken(28), one, one])
    expect(await firstByte(disk)).toBe(1)
    expect(events.map(({ data }) => data)).toEqual([
      { type: 'read', error: 'No space left on device', nodeName: 'child0', sectorNum: 0, sectorsCount: 1 },
    ])
    await graph.close()
  })

  it('fails with the error that most children have when too few can be read', async () => {
    for (const [legs, code] of [
      [[broken(5), broken(28), broken(28)], 'ENOSPC'],
      [[broken(12), broken(28), one], 'ENOSPC'],
      [[broken(28), broken(12), one], 'ENOMEM'],
    ] as const) {
      const { graph, disk, events } = await open({ voteThreshold: 2 }, legs)
      await expect(firstByte(disk)).rejects.toMatchObject({ code })
      expect(events.at(-1)?.event).toBe('QUORUM_FAILURE')
      await graph.close()
    }
  })

  it('corrects the losers when it may, and only where it read', async () => {
    const { graph, disk, storages, events } = await open({ voteThreshold: 2, rewriteCorrupted: true }, [two, one, one])
    expect(await firstByte(disk, 512, 512)).toBe(1)
    expect(events).toHaveLength(1)
    const buf = new Uint8Array(1536)
    storages[0]?.read(0, buf)
    expect([buf[511], buf[512], buf[1023], buf[1024]]).toEqual([2, 1, 1, 2])
    expect(await firstByte(disk, 512, 512)).toBe(1)
    expect(events).toHaveLength(1)
    await graph.close()
  })

  it('in fifo order takes the first child that can be read, whatever the others hold', async () => {
    const { graph, disk, events } = await open({ voteThreshold: 2, readPattern: 'fifo' }, [broken(5), two, one])
    expect(await firstByte(disk)).toBe(2)
    expect(events.map(({ event, data }) => [event, data.nodeName])).toEqual([['QUORUM_REPORT_BAD', 'child0']])
    await graph.close()
  })

  it('in fifo order fails with the error of the last child, without a failed vote', async () => {
    const { graph, disk, events } = await open({ voteThreshold: 1, readPattern: 'fifo' }, [broken(5), broken(28)])
    await expect(firstByte(disk)).rejects.toMatchObject({ code: 'ENOSPC' })
    expect(events.map(({ event }) => event)).toEqual(['QUORUM_REPORT_BAD', 'QUORUM_REPORT_BAD'])
    await graph.close()
  })

  it('that verifies two children fails where they differ, and names the place', async () => {
    const other = filled(1)
    other[700] = 9
    const { graph, disk } = await open({ voteThreshold: 2, blkverify: true }, [one, { content: other }])
    expect(await firstByte(disk, 0, 512)).toBe(1)
    await expect(firstByte(disk, 512, 512)).rejects.toMatchObject({
      code: 'EIO',
      message: 'quorum: offset=512 bytes=512 contents mismatch at offset 700',
    })
    await graph.close()
  })

  it('reports nobody when it is aborted', async () => {
    const { graph, disk, events } = await open({ voteThreshold: 2 }, [one, one, broken(5)])
    const abort = new AbortController()
    const read = disk.read(0, new Uint8Array(512), 0, abort.signal)
    abort.abort()
    await expect(read).rejects.toMatchObject({ code: 'ECANCELED' })
    expect(events).toEqual([])
    await graph.close()
  })
})

describe('block status of a quorum', () => {
  it('is zero where all children are, and data elsewhere', async () => {
    const { graph, disk } = await open({ voteThreshold: 1 }, [one, { content: filled(1, 8192) }, {}])
    const extents = []
    for await (const { offset, length, data, zero, present } of disk.extents()) {
      extents.push({ offset, length, data, zero, present })
    }
    const end = extents[0]?.length ?? 0
    expect(end).toBeGreaterThanOrEqual(8192)
    expect(extents).toEqual([
      { offset: 0, length: end, data: true, zero: false, present: true },
      { offset: end, length: 65536 - end, data: false, zero: true, present: true },
    ])
    await graph.close()
  })

  it('is data where a child cannot tell, and the child is reported', async () => {
    const errors = [{ event: 'none', iotype: 'block-status' } as const]
    const { graph, disk, events } = await open({ voteThreshold: 1 }, [{ errors }, {}])
    const { value } = await disk.extents().next()
    expect(value).toMatchObject({ offset: 0, length: 65536, data: true, zero: false })
    expect(events.map(({ event, data }) => [event, data.type, data.sectorsCount])).toEqual([
      ['QUORUM_REPORT_BAD', 'read', 128],
    ])
    await graph.close()
  })
})
