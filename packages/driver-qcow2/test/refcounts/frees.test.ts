import { done } from '@diskgraph/core/driver'
import { describe, expect, it } from 'vitest'
import { type FreedRange, type FreeReason, PendingFrees } from '../../src/refcounts/frees.ts'

const cluster = 4096

/** Ranges as `start+count reason`. */
function told(ranges: readonly FreedRange[]): string[] {
  return ranges.map(({ start, count, reason }) => `${start}+${count} ${reason}`)
}

/** A request that the test ends. */
function request(frees: PendingFrees): { readonly tracked: Promise<void>; end(error?: unknown): Promise<void> } {
  let settle: (error?: unknown) => void = () => {}
  const data = new Promise<void>((resolve, reject) => {
    settle = (error) => (error === undefined ? resolve() : reject(error))
  })
  const tracked = frees.track(data)
  return {
    tracked,
    end: async (error) => {
      settle(error)
      await tracked.catch(() => undefined)
    },
  }
}

describe('clusters that wait to be freed', () => {
  it('are all that a range touches', () => {
    const frees = new PendingFrees(cluster)
    frees.add(0, cluster, 'other')
    frees.add(2 * cluster, cluster + 1, 'request')
    frees.add(6 * cluster - 1, 2, 'snapshot')
    frees.add(9 * cluster + 100, 200, 'never')
    expect(told(frees.takeUntouched())).toEqual(['0+1 other', '2+2 request', '5+2 snapshot', '9+1 never'])
  })

  it('are joined where they follow each other for the same reason, and only there', () => {
    const frees = new PendingFrees(cluster)
    const add = (start: number, reason: FreeReason) => frees.add(start * cluster, cluster, reason)
    add(3, 'other')
    add(4, 'other')
    frees.add(5 * cluster, 2 * cluster, 'other')
    add(7, 'request')
    add(9, 'request')
    add(9, 'request')
    add(8, 'request')
    expect(told(frees.takeUntouched())).toEqual([
      '3+4 other',
      '7+1 request',
      '9+1 request',
      '9+1 request',
      '8+1 request',
    ])
  })

  it('are taken once', () => {
    const frees = new PendingFrees(cluster)
    expect(frees.empty).toBe(true)
    frees.add(0, cluster, 'other')
    expect(frees.empty).toBe(false)
    expect(told(frees.takeUntouched())).toEqual(['0+1 other'])
    expect(frees.empty).toBe(true)
    expect(frees.takeUntouched()).toEqual([])
  })

  it('wait for requests that had started before, and for no others', async () => {
    const frees = new PendingFrees(cluster)
    const early = request(frees)
    frees.add(0, cluster, 'other')
    expect(frees.takeUntouched()).toEqual([])
    const late = request(frees)
    await early.end()
    expect(told(frees.takeUntouched())).toEqual(['0+1 other'])
    await late.end()
    expect(frees.empty).toBe(true)
  })

  it('that were freed before a request started need not wait for it', async () => {
    const frees = new PendingFrees(cluster)
    const early = request(frees)
    frees.add(0, cluster, 'other')
    frees.takeUntouched()
    const late = request(frees)
    frees.add(1 * cluster, cluster, 'other')
    await early.end()
    expect(told(frees.takeUntouched())).toEqual(['0+1 other'])
    expect(frees.empty).toBe(false)
    await late.end()
    expect(told(frees.takeUntouched())).toEqual(['1+1 other'])
  })

  it('are not joined with those of an earlier settling', async () => {
    const frees = new PendingFrees(cluster)
    const early = request(frees)
    frees.add(0, cluster, 'other')
    frees.takeUntouched()
    frees.add(cluster, cluster, 'other')
    await early.end()
    expect(told(frees.takeUntouched())).toEqual(['0+1 other', '1+1 other'])
  })

  it('wait for the last of several requests, also when one fails', async () => {
    const frees = new PendingFrees(cluster)
    const requests = [request(frees), request(frees), request(frees)]
    frees.add(0, cluster, 'other')
    await requests[1]!.end()
    expect(frees.takeUntouched()).toEqual([])
    await requests[0]!.end(new Error('broken'))
    await expect(requests[0]!.tracked).rejects.toThrow('broken')
    expect(frees.takeUntouched()).toEqual([])
    await requests[2]!.end()
    expect(told(frees.takeUntouched())).toEqual(['0+1 other'])
  })

  it('do not wait for a request that is done', () => {
    const frees = new PendingFrees(cluster)
    expect(frees.track(done)).toBe(done)
    frees.add(0, cluster, 'other')
    expect(frees.takeUntouched()).toHaveLength(1)
  })
})

describe('clusters that wait are too many', () => {
  it('above 4096 ranges', () => {
    const frees = new PendingFrees(512)
    for (let i = 0; i < 4096; i++) frees.add(i * 1024, 512, 'other')
    expect(frees.crowded).toBe(false)
    frees.add(4096 * 1024, 512, 'other')
    expect(frees.crowded).toBe(true)
    frees.takeUntouched()
    expect(frees.crowded).toBe(false)
  })

  it('above 64 MiB', async () => {
    const MiB = 1024 * 1024
    const frees = new PendingFrees(MiB)
    const early = request(frees)
    frees.add(0, 60 * MiB, 'other')
    frees.takeUntouched()
    const late = request(frees)
    frees.add(60 * MiB, 4 * MiB, 'other')
    expect(frees.crowded).toBe(false)
    frees.add(64 * MiB, 1, 'other')
    expect(frees.crowded).toBe(true)
    await early.end()
    const settled = frees.takeUntouched()
    expect(told(settled)).toEqual(['0+60 other'])
    expect(frees.crowded).toBe(false)
    await late.end()
    expect(frees.takeUntouched()).toHaveLength(1)
    expect(frees.crowded).toBe(false)
    frees.add(0, 64 * MiB, 'other')
    expect(frees.crowded).toBe(false)
  })
})
