import { describe, expect, it } from 'vitest'
import { control, open } from './stack.ts'

const buf = new Uint8Array(512)

/** Whether `promise` settles within the next turns of the event loop. */
async function settles(promise: Promise<unknown>): Promise<boolean> {
  let settled = false
  promise.then(
    () => {
      settled = true
    },
    () => {
      settled = true
    },
  )
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setTimeout(resolve))
  return settled
}

describe('breakpoints of blkdebug', () => {
  it('stop the next request at their event, once, until it is resumed', async () => {
    const { graph, disk, node, events } = await open()
    control(node, 'break', 'write_aio', 'A')
    expect(control(node, 'is_suspended', 'A')).toBe(false)
    const write = disk.write(0, buf)
    await control(node, 'wait_break', 'A')
    expect(control(node, 'is_suspended', 'A')).toBe(true)
    expect(await settles(write)).toBe(false)
    await disk.write(512, buf)
    await disk.read(0, buf)
    control(node, 'resume', 'A')
    await write
    expect(events.map(({ event, nodeName, data }) => [event, nodeName, data])).toEqual([
      ['BLKDEBUG_SUSPENDED', 'debug', { tag: 'A' }],
      ['BLKDEBUG_RESUMED', 'debug', { tag: 'A' }],
    ])
    await graph.close()
  })

  it('of one tag let the request go on first that was stopped last', async () => {
    const { graph, disk, node } = await open()
    control(node, 'break', 'write_aio', 'A')
    control(node, 'break', 'read_aio', 'A')
    const write = disk.write(0, buf)
    const read = disk.read(0, new Uint8Array(1))
    control(node, 'resume', 'A')
    await read
    expect(await settles(write)).toBe(false)
    control(node, 'resume', 'A')
    await write
    await graph.close()
  })

  it('on one event all stop the same request', async () => {
    const { graph, disk, node, events } = await open()
    control(node, 'break', 'write_aio', 'A')
    control(node, 'break', 'write_aio', 'B')
    const write = disk.write(0, buf)
    control(node, 'resume', 'A')
    expect(await settles(write)).toBe(false)
    control(node, 'resume', 'B')
    await write
    expect(events.map(({ data }) => data.tag)).toEqual(['B', 'A', 'A', 'B'])
    await graph.close()
  })

  it('that are removed let go whom they stopped', async () => {
    const { graph, disk, node } = await open()
    control(node, 'break', 'write_aio', 'A')
    control(node, 'break', 'read_aio', 'A')
    const write = disk.write(0, buf)
    control(node, 'remove_break', 'A')
    await write
    await disk.read(0, buf)
    await graph.close()
  })

  it('know no tag that was not set, and no event that does not exist', async () => {
    const { graph, node } = await open()
    for (const [operation, ...args] of [
      ['break', 'nonsense', 'A'],
      ['resume', 'A'],
      ['remove_break', 'A'],
    ] as const) {
      expect(() => control(node, operation, ...args)).toThrowError(expect.objectContaining({ code: 'ENOENT' }))
    }
    await graph.close()
  })

  it('can hold one unaligned write inside its block while another waits for it', async () => {
    const { graph, disk, node, storage } = await open({ align: 4096 })
    control(node, 'break', 'pwritev_rmw_after_head', 'A')
    const first = disk.write(100, new Uint8Array(100).fill(0xaa))
    await control(node, 'wait_break', 'A')
    const second = disk.write(300, new Uint8Array(100).fill(0xbb))
    expect(await settles(second)).toBe(false)
    control(node, 'resume', 'A')
    await Promise.all([first, second])
    const block = new Uint8Array(4096)
    storage.read(0, block)
    expect([block[99], block[100], block[199], block[200], block[300], block[399]]).toEqual([
      100, 0xaa, 0xaa, 201, 0xbb, 0xbb,
    ])
    await graph.close()
  })
})
