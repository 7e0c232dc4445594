import { describe, expect, it } from 'vitest'
import { codeOf, open } from './stack.ts'

const buf = new Uint8Array(512)

describe('rules of blkdebug', () => {
  it('fail requests that contain their sector and let others through', async () => {
    const { graph, disk } = await open({ injectError: [{ event: 'none', sector: 1 }] })
    expect(await codeOf(disk.read(0, buf))).toBe(undefined)
    expect(await codeOf(disk.read(512, buf))).toBe('EIO')
    expect(await codeOf(disk.read(1023, new Uint8Array(1)))).toBe(undefined)
    expect(await codeOf(disk.read(0, new Uint8Array(1024)))).toBe('EIO')
    expect(await codeOf(disk.write(511, new Uint8Array(2)))).toBe('EIO')
    await graph.close()
  })

  it.each([
    ['read', ['read']],
    ['write', ['write']],
    ['write-zeroes', ['writeZeroes']],
    ['discard', ['discard']],
    ['block-status', ['extents']],
    [undefined, ['read', 'write', 'writeZeroes', 'discard']],
  ] as const)('with iotype %s fail %j and nothing else', async (iotype, failing) => {
    const { graph, disk } = await open({ injectError: [{ event: 'none', iotype, immediately: true }] }, { raw: false })
    const results = {
      read: await codeOf(disk.read(0, buf)),
      write: await codeOf(disk.write(0, buf)),
      writeZeroes: await codeOf(disk.writeZeroes(0, 4096)),
      discard: await codeOf(disk.discard(0, 4096)),
      extents: await codeOf(disk.extents().next()),
    }
    expect(Object.keys(results).filter((kind) => results[kind as keyof typeof results] !== undefined)).toEqual(failing)
    await graph.close().catch(() => undefined)
  })

  it('fail a flush only when something was written before', async () => {
    const { graph, disk } = await open({ injectError: [{ event: 'none', iotype: 'flush', once: true }] })
    expect(await codeOf(disk.flush())).toBe(undefined)
    await disk.write(0, buf)
    expect(await codeOf(disk.flush())).toBe('EIO')
    expect(await codeOf(disk.flush())).toBe(undefined)
    await graph.close()
  })

  it('fail with the error they name, by number or by name', async () => {
    for (const [errno, code] of [
      [28, 'ENOSPC'],
      ['ENOMEM', 'ENOMEM'],
      [undefined, 'EIO'],
      [71, 'EIO'],
      [0, undefined],
    ] as const) {
      const { graph, disk } = await open({ injectError: [{ event: 'none', errno }] })
      expect(await codeOf(disk.read(0, buf))).toBe(code)
      await graph.close()
    }
  })

  it('take effect in the order they were given, and errno 0 shields those behind it', async () => {
    const { graph, disk } = await open({
      injectError: [
        { event: 'none', sector: 9, errno: 0 },
        { event: 'none', sector: 10, errno: 28 },
        { event: 'none', errno: 22 },
      ],
    })
    expect(await codeOf(disk.read(9 * 512, buf))).toBe(undefined)
    expect(await codeOf(disk.read(10 * 512, buf))).toBe('ENOSPC')
    expect(await codeOf(disk.read(11 * 512, buf))).toBe('EINVAL')
    await graph.close()
  })

  it('stay armed after their event, until an event arms others', async () => {
    const { graph, disk } = await open({
      injectError: [
        { event: 'none', sector: 10, errno: 28 },
        { event: 'write_aio', sector: 20, errno: 22 },
      ],
    })
    expect(await codeOf(disk.read(10 * 512, buf))).toBe('ENOSPC')
    expect(await codeOf(disk.write(0, buf))).toBe(undefined)
    expect(await codeOf(disk.read(10 * 512, buf))).toBe(undefined)
    expect(await codeOf(disk.read(20 * 512, buf))).toBe('EINVAL')
    await graph.close()
  })

  it('that apply once are gone after one failure', async () => {
    const { graph, disk } = await open({ injectError: [{ event: 'read_aio', once: true }] })
    expect(await codeOf(disk.read(0, buf))).toBe('EIO')
    expect(await codeOf(disk.read(0, buf))).toBe(undefined)
    await graph.close()
  })

  it('follow the states that events lead to', async () => {
    const { graph, disk } = await open({
      setState: [
        { event: 'write_aio', state: 1, newState: 2 },
        { event: 'write_aio', state: 2, newState: 5 },
        { event: 'write_aio', state: 2, newState: 6 },
      ],
      injectError: [
        { event: 'read_aio', state: 5, errno: 28, once: true },
        { event: 'read_aio', state: 2, errno: 5, once: true },
      ],
    })
    expect(await codeOf(disk.read(0, buf))).toBe(undefined)
    await disk.write(0, buf)
    expect(await codeOf(disk.read(0, buf))).toBe('EIO')
    await disk.write(0, buf)
    expect(await codeOf(disk.read(0, buf))).toBe('ENOSPC')
    await graph.close()
  })

  it('fail after a turn of the event loop unless they are immediate', async () => {
    for (const immediately of [false, true]) {
      const { graph, disk } = await open({ injectError: [{ event: 'none', immediately }] })
      let failed = false
      const read = disk.read(0, buf).catch(() => {
        failed = true
      })
      for (let i = 0; i < 20; i++) await undefined
      expect(failed).toBe(immediately)
      await read
      await graph.close()
    }
  })

  it('understand the dotted names of events that older versions had', async () => {
    const { graph, disk, node } = await open({ injectError: [{ event: 'l2_alloc.write' }] })
    expect(await codeOf(disk.read(0, buf))).toBe(undefined)
    node.image.debugEvent?.('l2_alloc_write')
    expect(await codeOf(disk.read(0, buf))).toBe('EIO')
    await graph.close()
  })

  it('name the node in the error', async () => {
    const { graph, disk } = await open({ injectError: [{ event: 'none' }] })
    await expect(disk.read(0, buf)).rejects.toMatchObject({ code: 'EIO', message: 'Input/output error' })
    await graph.close()
  })
})

describe('events that the core raises', () => {
  it.each([
    ['a write', 'pwritev', 4096, 4096],
    ['a write', 'pwritev_done', 4096, 4096],
    ['a write that starts inside a block', 'pwritev_rmw_head', 4100, 4092],
    ['a write that starts inside a block', 'pwritev_rmw_after_head', 4100, 4092],
    ['a write that ends inside a block', 'pwritev_rmw_tail', 4096, 100],
    ['a write that ends inside a block', 'pwritev_rmw_after_tail', 4096, 100],
  ] as const)('%s raises %s', async (_, event, offset, length) => {
    const { graph, disk } = await open({ align: 4096, injectError: [{ event, iotype: 'discard', once: true }] })
    expect(await codeOf(disk.discard(0, 4096))).toBe(undefined)
    await disk.write(offset, new Uint8Array(length))
    expect(await codeOf(disk.discard(0, 4096))).toBe('EIO')
    await graph.close()
  })

  it('zeroes raise pwritev_zero', async () => {
    const { graph, disk } = await open({ injectError: [{ event: 'pwritev_zero', iotype: 'read' }] })
    await disk.writeZeroes(0, 4096)
    expect(await codeOf(disk.read(0, buf))).toBe('EIO')
    await graph.close()
  })

  it('a flush raises flush_to_os always and flush_to_disk after a write', async () => {
    for (const [event, clean] of [
      ['flush_to_os', 'EIO'],
      ['flush_to_disk', undefined],
    ] as const) {
      const { graph, disk } = await open({ injectError: [{ event, iotype: 'read', once: true }] })
      await disk.flush()
      expect(await codeOf(disk.read(0, buf))).toBe(clean)
      await disk.write(0, buf)
      await disk.flush()
      expect(await codeOf(disk.read(0, buf))).toBe(clean === undefined ? 'EIO' : undefined)
      await graph.close()
    }
  })
})
