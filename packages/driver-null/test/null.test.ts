import { Graph } from '@diskgraph/core'
import { nullAio, nullCo } from '@diskgraph/driver-null'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

describe('null-co and null-aio', () => {
  it('does what the README shows', async () => {
    mustShowExample(import.meta.url)
    await using graph = new Graph({ drivers: [nullCo] })
    const disk = await graph.add({ driver: 'null-co', size: 2 ** 40, readZeroes: true })
    await disk.read(0, new Uint8Array(512))
  })

  it('is 1 GiB large unless told otherwise', async () => {
    await using graph = new Graph({ drivers: [nullCo, nullAio] })
    expect((await graph.add({ driver: 'null-co' })).size).toBe(2 ** 30)
    expect((await graph.add({ driver: 'null-aio', size: 1000 })).size).toBe(1000)
  })

  it('takes writes and reads zeroes', async () => {
    await using graph = new Graph({ drivers: [nullCo] })
    const disk = await graph.add({ driver: 'null-co', size: 2 ** 50 })
    await disk.write(2 ** 50 - 4, new Uint8Array([1, 2, 3, 4]))
    const buf = new Uint8Array(4).fill(9)
    await disk.read(2 ** 50 - 4, buf)
    expect([...buf]).toEqual([0, 0, 0, 0])
  })

  it.each([
    [true, { present: true, zero: true, data: false, hostOffset: 0 }],
    [false, { present: false, data: false, hostOffset: undefined }],
  ])('tells with readZeroes %s what qemu-img map tells', async (readZeroes, expected) => {
    await using graph = new Graph({ drivers: [nullCo] })
    const disk = await graph.add({ driver: 'null-co', readZeroes })
    for await (const { present, zero, data, hostOffset } of disk.extents()) {
      expect({ present, zero, data, hostOffset }).toMatchObject(expected)
    }
  })

  it('lets each request take its latency', async () => {
    await using graph = new Graph({ drivers: [nullCo] })
    const disk = await graph.add({ driver: 'null-co', latencyNs: 20_000_000 })
    const start = performance.now()
    await Promise.all([disk.read(0, new Uint8Array(1)), disk.write(0, new Uint8Array(1)), disk.flush()])
    expect(performance.now() - start).toBeGreaterThan(15)
  })

  it('ends a waiting request when it is aborted', async () => {
    await using graph = new Graph({ drivers: [nullCo] })
    const disk = await graph.add({ driver: 'null-co', latencyNs: 300_000_000 })
    const read = disk.read(0, new Uint8Array(1), 0, AbortSignal.timeout(5))
    await expect(read).rejects.toMatchObject({ code: 'ECANCELED' })
  })

  it('refuses a negative latency in the words of QEMU', async () => {
    await using graph = new Graph({ drivers: [nullCo] })
    await expect(graph.add({ driver: 'null-co', latencyNs: -5 })).rejects.toThrow('latency-ns is invalid')
  })

  it('has one file name', () => {
    expect(nullAio.parseFilename?.('null-aio://')).toEqual({})
    expect(() => nullAio.parseFilename?.('null-aio://x')).toThrow(
      "The only allowed filename for this driver is 'null-aio://'",
    )
    expect(nullCo.formatFilename?.({ size: 2 ** 30 }, {})).toBe('null-co://')
    expect(nullCo.formatFilename?.({ size: 5 }, {})).toBeUndefined()
  })
})
