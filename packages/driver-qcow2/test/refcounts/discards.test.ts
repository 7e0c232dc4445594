import { BlockError } from '@diskgraph/core'
import { describe, expect, it } from 'vitest'
import { Discards } from '../../src/refcounts/frees.ts'
import { FakeFile } from '../fake-file.ts'

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** A file whose discards wait until the test lets them go on, one by one. */
function held(): { file: FakeFile; discards: Discards; next(error?: unknown): Promise<void> } {
  const file = new FakeFile()
  const waiting: ((error?: unknown) => void)[] = []
  file.before = () =>
    new Promise<void>((resolve, reject) => {
      waiting.push((error) => (error === undefined ? resolve() : reject(error)))
    })
  return {
    file,
    discards: new Discards(file, 4096),
    next: async (error) => {
      waiting.shift()!(error)
      await turn()
    },
  }
}

describe('discards', () => {
  it('are made one after the other, in bytes of the file', async () => {
    const { file, discards, next } = held()
    discards.start({ start: 3, count: 2 })
    discards.start({ start: 7, count: 1 })
    await turn()
    expect(file.take()).toEqual(['discard 0x3000+8192'])
    await next()
    expect(file.take()).toEqual(['discard 0x7000+4096'])
    await next()
    await discards.settled()
  })

  it('give out runs when they are done, once', async () => {
    const { discards, next } = held()
    expect(discards.pending).toBe(false)
    discards.start({ start: 3, count: 2 })
    discards.start({ start: 7, count: 1 })
    expect(discards.pending).toBe(true)
    await turn()
    expect(discards.take()).toEqual([])
    await next()
    expect(discards.take()).toEqual([{ start: 3, count: 2 }])
    expect(discards.take()).toEqual([])
    expect(discards.pending).toBe(true)
    await next()
    expect(discards.pending).toBe(true)
    expect(discards.take()).toEqual([{ start: 7, count: 1 }])
    expect(discards.pending).toBe(false)
  })

  it('that fail give out their runs too', async () => {
    const { discards, next } = held()
    discards.start({ start: 1, count: 1 })
    discards.start({ start: 2, count: 1 })
    await turn()
    await next(new BlockError('EIO', 'broken'))
    await next()
    await discards.settled()
    expect(discards.take()).toEqual([
      { start: 1, count: 1 },
      { start: 2, count: 1 },
    ])
  })

  it('have settled when the last that was started is done', async () => {
    const { discards, next } = held()
    await discards.settled()
    discards.start({ start: 1, count: 1 })
    discards.start({ start: 2, count: 1 })
    let settled = false
    void discards.settled().then(() => {
      settled = true
    })
    await turn()
    await next()
    expect(settled).toBe(false)
    await next()
    expect(settled).toBe(true)
  })
})
