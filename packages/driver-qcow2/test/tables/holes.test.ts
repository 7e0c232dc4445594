import type { BlockStatus } from '@diskgraph/core'
import { describe, expect, it } from 'vitest'
import { allocateHoles } from '../../src/tables/holes.ts'
import { FakeFile } from '../fake-file.ts'

const page = 4096

/** A file of some pages, those in `holes` without storage; `step` is how far one answer about them goes at most. */
function fileWith(pages: number, holes: readonly number[], step = page): FakeFile {
  const file = new FakeFile()
  file.bytes = new Uint8Array(pages * page)
  file.blockStatus = async (offset: number, length: number): Promise<BlockStatus> => {
    file.log.push(`status ${offset / page}+${length}`)
    const data = !holes.includes(Math.floor(offset / page))
    return {
      length: Math.min(length, step, page - (offset % page), file.size - offset),
      data,
      zero: !data,
      allocated: true,
    }
  }
  return file
}

const free = () => undefined

describe('storage for a table', () => {
  it('is there where the file has data', async () => {
    const file = fileWith(4, [])
    await allocateHoles(file, page, new Uint8Array(2 * page), free)
    expect(file.take()).toEqual(['status 1+4096', 'status 2+4096'])
  })

  it('is made by writing the table as it is where a page of it is a hole', async () => {
    for (const hole of [1, 2]) {
      const file = fileWith(4, [hole])
      const data = new Uint8Array(2 * page)
      await allocateHoles(file, page, data, free)
      expect(file.take().at(-1)).toBe('write 0x1000+8192')
    }
  })

  it('is not asked about where the table has bytes that are not zero', async () => {
    const file = fileWith(4, [1, 2])
    const data = new Uint8Array(2 * page)
    data[0] = 1
    data[2 * page - 1] = 1
    await allocateHoles(file, page, data, free)
    expect(file.take()).toEqual([])
  })

  it('is made for a page that is zero beside one that is not, with the bytes that stand there', async () => {
    const file = fileWith(4, [2])
    const data = new Uint8Array(2 * page)
    data[page - 1] = 7
    await allocateHoles(file, page, data, free)
    expect(file.take()).toEqual(['status 2+4096', 'write 0x1000+8192'])
    expect(file.bytes[2 * page - 1]).toBe(7)
  })

  it('is missing behind the end of the file, of which nobody asks', async () => {
    const file = fileWith(1, [])
    await allocateHoles(file, page, new Uint8Array(512), free)
    expect(file.take()).toEqual(['write 0x1000+512'])
  })

  it('is looked for up to the last byte, however short the answers are', async () => {
    const file = fileWith(2, [], 1000)
    await allocateHoles(file, 0, new Uint8Array(page), free)
    expect(file.take()).toEqual([
      'status 0+4096',
      'status 0.244140625+3096',
      'status 0.48828125+2096',
      'status 0.732421875+1096',
      'status 0.9765625+96',
    ])
    file.bytes = new Uint8Array(page - 1)
    await allocateHoles(file, 0, new Uint8Array(page), free)
    expect(file.take().at(-1)).toBe('write 0x0+4096')
  })

  it('of a table that ends within a page is asked about for its bytes alone', async () => {
    const file = fileWith(2, [])
    await allocateHoles(file, 0, new Uint8Array(page + 512), free)
    expect(file.take()).toEqual(['status 0+4096', 'status 1+512'])
  })

  it('is written from a copy, after the guard has been asked about all of it', async () => {
    const file = fileWith(2, [0])
    const data = new Uint8Array(page)
    let release = () => {}
    file.before = (call) => (call.startsWith('write') ? new Promise<void>((resolve) => (release = resolve)) : undefined)
    const asked: number[][] = []
    const written = allocateHoles(file, 0, data, (...range) => void asked.push(range))
    await new Promise<void>((resolve) => setImmediate(resolve))
    data.fill(9)
    release()
    await written
    expect(asked).toEqual([[0, page]])
    expect(file.bytes[0]).toBe(0)
  })

  it('is not written where the guard refuses', async () => {
    const file = fileWith(2, [0])
    await expect(allocateHoles(file, 0, new Uint8Array(page), () => Promise.reject('metadata'))).rejects.toBe(
      'metadata',
    )
    expect(file.take()).toEqual(['status 0+4096'])
    await allocateHoles(file, 0, new Uint8Array(page), () => Promise.resolve())
    expect(file.take().at(-1)).toBe('write 0x0+4096')
  })
})
