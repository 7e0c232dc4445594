import { Permission } from '@diskgraph/core'
import { describe, expect, it } from 'vitest'
import { child, filled, firstByte, open, setUp } from './stack.ts'

describe('children of a quorum', () => {
  it('are added and removed under load, and the disk lives on', async () => {
    const { graph, disk, storages } = await open({ voteThreshold: 2 }, [{}, {}, {}, {}])
    await graph.setChild('q', 'children.3', undefined)
    expect(graph.find('child3')).toBe(undefined)
    const writes = (async () => {
      for (let i = 0; i < 300; i++) {
        await disk.write((i % 64) * 1024, filled(i, 1024))
        if (i % 20 === 0) await new Promise((resolve) => setTimeout(resolve))
      }
    })()
    await graph.setChild('q', 'children.0', undefined)
    await graph.addNode({ driver: 'memory', name: '3', nodeName: 'spare' })
    expect(await graph.addChild('q', 'children', 'spare')).toBe('children.3')
    await writes
    for (let i = 0; i < 64; i++) await disk.write(i * 1024, filled(100 + i, 1024))
    const contents = storages.map((storage) => {
      const buf = new Uint8Array(65536)
      storage.read(0, buf)
      return buf
    })
    expect(contents[3]).toEqual(contents[1])
    expect(contents[2]).toEqual(contents[1])
    expect(contents[0]).not.toEqual(contents[1])
    await graph.close()
  })

  it('cannot become fewer than the threshold', async () => {
    const { graph, disk } = await open({ voteThreshold: 2 }, [{}, {}, {}])
    await graph.setChild('q', 'children.0', undefined)
    await expect(graph.setChild('q', 'children.1', undefined)).rejects.toThrow(
      'The number of children cannot be lower than the vote threshold 2',
    )
    expect(await firstByte(disk)).toBe(0)
    await graph.close()
  })

  it('are always two where they are verified', async () => {
    const { graph } = await open({ voteThreshold: 2, blkverify: true }, [{}, {}])
    await graph.addNode({ driver: 'memory', name: '1', nodeName: 'spare' })
    await expect(graph.addChild('q', 'children', 'spare')).rejects.toThrow(
      'Cannot add a child to a quorum in blkverify mode',
    )
    await expect(graph.setChild('q', 'children.1', undefined)).rejects.toThrow('vote threshold 2')
    await graph.close()
  })

  it('have one size', async () => {
    await expect(open({ voteThreshold: 1 }, [{}, { size: 512 }])).rejects.toMatchObject({
      code: 'EIO',
      message: expect.stringContaining("65536 bytes in 'memory:0', 512 bytes in 'memory:1'"),
    })
    const { graph } = await open({ voteThreshold: 1 }, [{}, {}])
    await graph.addNode({ driver: 'memory', size: 1024, nodeName: 'short' })
    await expect(graph.addChild('q', 'children', 'short')).rejects.toMatchObject({ code: 'EINVAL' })
    await graph.close()
  })

  it('are replaced one for another', async () => {
    const { graph, disk } = await open({ voteThreshold: 1 }, [{ content: filled(1) }, { content: filled(1) }])
    await graph.addNode({ driver: 'memory', size: 65536, nodeName: 'other' })
    await graph.setChild('q', 'children.0', 'other')
    await graph.setChild('q', 'children.1', undefined)
    expect(await firstByte(disk)).toBe(0)
    await graph.close()
  })

  it('are written by nobody else, and by the quorum itself when it corrects them', async () => {
    const { graph, disk } = await open({ voteThreshold: 1, rewriteCorrupted: true }, [{}])
    const [edge] = graph.find('child0')?.parents ?? []
    expect(edge?.permissions).toBe(Permission.ConsistentRead | Permission.Write)
    expect(edge?.shared).toBe(Permission.ConsistentRead | Permission.WriteUnchanged)
    await expect(graph.attach('child0')).rejects.toMatchObject({ code: 'EPERM' })
    await disk.close()
    await expect(open({ voteThreshold: 1, rewriteCorrupted: true }, [{}], { readOnly: true })).rejects.toThrow(
      'Block node is read-only',
    )
    await open({ voteThreshold: 1, rewriteCorrupted: true, readPattern: 'fifo' }, [{}], { readOnly: true })
  })
})

describe('options of a quorum', () => {
  it.each([
    [{ voteThreshold: 0 }, 3, "Parameter 'vote-threshold' expects a value >= 1"],
    [{ voteThreshold: 4 }, 3, 'threshold may not exceed children count'],
    [
      { voteThreshold: 2, blkverify: true },
      3,
      'blkverify=on can only be set if there are exactly two files and vote-threshold is 2',
    ],
    [{ voteThreshold: 1, blkverify: true }, 2, 'blkverify=on can only be set'],
    [
      { voteThreshold: 2, blkverify: true, rewriteCorrupted: true },
      2,
      'rewrite-corrupted=on cannot be used with blkverify=on',
    ],
    [{ voteThreshold: 1 }, 0, 'Number of provided children must be 1 or more'],
  ])('%j with %i children are refused', async (options, count, message) => {
    await expect(
      open(
        options,
        Array.from({ length: count }, () => ({})),
      ),
    ).rejects.toThrow(message)
  })

  it.each([
    [{ voteThreshold: 2, blkverify: true, readPattern: 'fifo' as const }, 3],
    [{ voteThreshold: 2, rewriteCorrupted: true, readPattern: 'fifo' as const }, 3],
    [{ voteThreshold: 3 }, 3],
    [{ voteThreshold: 1 }, 1],
  ])('%j with %i children are accepted', async (options, count) => {
    const { graph } = await open(
      options,
      Array.from({ length: count }, () => ({})),
    )
    await graph.close()
  })

  it('have a json: name that opens the same again', async () => {
    const { graph, disk } = await open({ voteThreshold: 2, readPattern: 'fifo' }, [{}, {}])
    expect(disk.filename).toBe(
      'json:{"read-pattern": "fifo", "children": [{"name": "0", "driver": "memory"}, {"name": "1", "driver": "memory"}], "driver": "quorum", "vote-threshold": 2}',
    )
    await disk.close()
    const again = await graph.open(disk.filename)
    expect(again.size).toBe(65536)
    await graph.close()
  })

  it('come dotted, nested or by node name', async () => {
    const { graph } = setUp([{}, {}, {}])
    await graph.addNode({ ...child({}, 2) })
    const disk = await graph.addQapi({
      driver: 'quorum',
      'vote-threshold': '2',
      'children.0.driver': 'memory',
      'children.0.name': '0',
      'children.1': { driver: 'memory', name: '1' },
      'children.2': 'child2',
    })
    expect(disk.size).toBe(65536)
    expect([...disk.node.children.keys()]).toEqual(['children.0', 'children.1', 'children.2'])
    await graph.close()
  })
})
