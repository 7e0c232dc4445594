import { Flag } from '@diskgraph/core'
import { describe, expect, it } from 'vitest'
import { filled, open } from './stack.ts'

const failing = (iotype: 'write' | 'flush' | 'write-zeroes', errno = 5) => ({
  errors: [{ event: 'none', iotype, errno } as const],
})

describe('writing to a quorum', () => {
  it('reaches all children', async () => {
    const { graph, disk, storages } = await open({ voteThreshold: 2 }, [{}, {}, {}])
    await disk.write(100, filled(5, 300))
    await disk.writeZeroes(200, 100)
    for (const storage of storages) {
      const buf = new Uint8Array(401)
      storage.read(0, buf)
      expect([buf[99], buf[100], buf[199], buf[200], buf[299], buf[300], buf[400]]).toEqual([0, 5, 5, 0, 0, 5, 0])
    }
    await graph.close()
  })

  it('succeeds when the threshold of children took it, and reports the others', async () => {
    const { graph, disk, events } = await open({ voteThreshold: 2 }, [failing('write'), {}, {}])
    await disk.write(100, filled(5, 5000))
    expect(events.map(({ event, data }) => ({ event, ...data }))).toEqual([
      {
        event: 'QUORUM_REPORT_BAD',
        type: 'write',
        error: 'Input/output error',
        nodeName: 'child0',
        sectorNum: 0,
        sectorsCount: 10,
      },
    ])
    await graph.close()
  })

  it('fails with the error that most have when too few took it', async () => {
    const { graph, disk, events } = await open({ voteThreshold: 2 }, [failing('write', 28), failing('write'), {}])
    await expect(disk.write(0, filled(5))).rejects.toMatchObject({ code: 'EIO' })
    expect(events.map(({ event }) => event)).toEqual(['QUORUM_REPORT_BAD', 'QUORUM_REPORT_BAD', 'QUORUM_FAILURE'])
    await graph.close()
  })

  it('of zeroes fails as writing does', async () => {
    const { graph, disk, events } = await open({ voteThreshold: 2 }, [
      failing('write-zeroes'),
      failing('write-zeroes'),
      {},
    ])
    await expect(disk.writeZeroes(0, 65536)).rejects.toMatchObject({ code: 'EIO' })
    expect(events.map(({ data }) => data.type ?? data.reference)).toEqual(['write', 'write', 'q'])
    await graph.close()
  })

  it('of zeroes that must be efficient leaves no child behind that has no such zeroes', async () => {
    const { graph, disk, storages, events } = await open({ voteThreshold: 1 }, [failing('write-zeroes', 95), {}])
    await disk.write(0, filled(7))
    await disk.writeZeroes(0, 4096, Flag.NoFallback)
    for (const storage of storages) {
      const buf = filled(9)
      storage.read(0, buf)
      expect(buf).toEqual(filled(0))
    }
    expect(events).toEqual([])
    await graph.close()
  })

  it('of zeroes that must be efficient is not supported when no child has them, and nobody is to blame', async () => {
    const { graph, disk, events } = await open({ voteThreshold: 1 }, [
      failing('write-zeroes', 95),
      failing('write-zeroes', 95),
    ])
    await expect(disk.writeZeroes(0, 4096, Flag.NoFallback)).rejects.toMatchObject({ code: 'ENOTSUP' })
    expect(events).toEqual([])
    await graph.close()
  })

  it('flushes all children and succeeds when the threshold of them did', async () => {
    const { graph, disk, events } = await open({ voteThreshold: 2 }, [failing('flush'), {}, {}])
    await disk.write(0, filled(1))
    await disk.flush()
    expect(events.map(({ data }) => data)).toEqual([
      { type: 'flush', error: 'Input/output error', nodeName: 'child0', sectorNum: 0, sectorsCount: 0 },
    ])
    await graph.close().catch(() => undefined)
  })

  it('fails to flush without a failed vote when too few did', async () => {
    const { graph, disk, events } = await open({ voteThreshold: 2 }, [failing('flush'), failing('flush', 28), {}])
    await disk.write(0, filled(1))
    await expect(disk.flush()).rejects.toMatchObject({ code: 'ENOSPC' })
    expect(events.map(({ event }) => event)).toEqual(['QUORUM_REPORT_BAD', 'QUORUM_REPORT_BAD'])
    await graph.close().catch(() => undefined)
  })

  it('drops discards and cannot be resized', async () => {
    const { graph, disk } = await open({ voteThreshold: 2 }, [{ content: filled(3) }, { content: filled(3) }], {
      discard: 'unmap',
    })
    await disk.discard(0, 4096)
    const buf = new Uint8Array(1)
    await disk.read(0, buf)
    expect(buf[0]).toBe(3)
    await expect(disk.truncate(1024)).rejects.toMatchObject({
      code: 'ENOTSUP',
      message: 'Image format driver does not support resize',
    })
    await graph.close()
  })

  it('and reading at once never shows a write that only some children have', async () => {
    const { graph, disk, events } = await open({ voteThreshold: 3, rewriteCorrupted: true }, [{}, failing('flush'), {}])
    const requests: Promise<unknown>[] = []
    for (let i = 0; i < 200; i++) {
      requests.push(disk.write((i * 700) % 60_000, filled(i, 1500)))
      requests.push(disk.read((i * 500) % 60_000, new Uint8Array(4000)))
    }
    await Promise.all(requests)
    expect(events).toEqual([])
    await graph.close().catch(() => undefined)
  })
})
