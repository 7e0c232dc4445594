import { beforeEach, describe, expect, it, vi } from 'vitest'
import { Flusher } from '../src/flush.ts'

/** Each call of fdatasync that was begun, to be ended by the test. */
const calls: { resolve(): void; reject(error: Error): void }[] = []

vi.mock(import('../src/calls.ts'), async (original) => ({
  ...(await original()),
  syncData: () =>
    new Promise<void>((resolve, reject) => {
      calls.push({ resolve, reject })
    }),
}))

const failure = Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' })
const turn = () => new Promise((resolve) => setImmediate(resolve))

/** A flusher of a file that was written. */
function flusherOf(direct = false): Flusher {
  const flusher = new Flusher({ fd: 3, filename: 'x' }, direct)
  flusher.markDirty()
  return flusher
}

beforeEach(() => {
  calls.length = 0
})

describe('flush', () => {
  it('syncs what was written, and nothing when nothing was written since', async () => {
    const flusher = new Flusher({ fd: 3, filename: 'x' }, false)
    await flusher.flush()
    expect(calls.length).toBe(0)
    flusher.markDirty()
    const first = flusher.flush()
    calls[0]?.resolve()
    await first
    await flusher.flush()
    expect(calls.length).toBe(1)
    flusher.markDirty()
    const second = flusher.flush()
    calls[1]?.resolve()
    await second
    expect(calls.length).toBe(2)
  })

  it('joins a running sync when nothing has completed meanwhile', async () => {
    const flusher = flusherOf()
    const flushes = [flusher.flush(), flusher.flush()]
    calls[0]?.resolve()
    await Promise.all(flushes)
    expect(calls.length).toBe(1)
  })

  it('runs one sync at a time, and one more for all who asked after a write that it does not cover', async () => {
    const flusher = flusherOf()
    const settled: string[] = []
    const note = (name: string) => () => settled.push(name)
    void flusher.flush().then(note('first'))
    flusher.markDirty()
    void flusher.flush().then(note('second'))
    flusher.markDirty()
    void flusher.flush().then(note('third'))
    await turn()
    expect(calls.length).toBe(1)
    calls[0]?.resolve()
    await turn()
    expect(settled).toEqual(['first'])
    expect(calls.length).toBe(2)
    calls[1]?.resolve()
    await turn()
    expect(settled).toEqual(['first', 'second', 'third'])
    await flusher.flush()
    expect(calls.length).toBe(2)
  })

  it('fails for ever after a failure, with the same error, until the file is opened again', async () => {
    const flusher = flusherOf()
    const first = flusher.flush()
    flusher.markDirty()
    const second = flusher.flush()
    calls[0]?.reject(failure)
    await expect(first).rejects.toMatchObject({ code: 'EIO', message: "cannot flush 'x': Input/output error" })
    await expect(second).rejects.toMatchObject({ code: 'EIO' })
    flusher.markDirty()
    await expect(flusher.flush()).rejects.toMatchObject({ code: 'EIO' })
    expect(calls.length).toBe(1)
    flusher.reset(false)
    const again = flusher.flush()
    calls[1]?.resolve()
    await again
  })

  it('gives one and the same error to all who ask after a failure', async () => {
    const flusher = flusherOf()
    const first = flusher.flush()
    calls[0]?.reject(failure)
    const error = await first.catch((reason: unknown) => reason)
    expect(await flusher.flush().catch((reason: unknown) => reason)).toBe(error)
    flusher.reset(true)
    const again = flusher.flush()
    // What the failed one was to write is to be written still.
    expect(calls.length).toBe(2)
    calls[1]?.resolve()
    await again
  })

  it('fails for those who joined the one that fails, without another', async () => {
    const flusher = flusherOf()
    const flushes = [flusher.flush(), flusher.flush()]
    calls[0]?.reject(failure)
    for (const result of await Promise.allSettled(flushes)) expect(result.status).toBe('rejected')
    expect(calls.length).toBe(1)
  })

  it('with direct access runs the next one for those who wait behind a failure', async () => {
    const flusher = flusherOf(true)
    const first = flusher.flush()
    flusher.markDirty()
    const second = flusher.flush()
    calls[0]?.reject(failure)
    await expect(first).rejects.toMatchObject({ code: 'EIO' })
    await turn()
    expect(calls.length).toBe(2)
    calls[1]?.resolve()
    await second
    await flusher.flush()
    expect(calls.length).toBe(2)
  })

  it('shares the next one only with those who ask before it begins', async () => {
    const flusher = flusherOf()
    for (let round = 0; round < 2; round++) {
      const first = flusher.flush()
      flusher.markDirty()
      let settled = false
      const second = flusher.flush().then(() => {
        settled = true
      })
      calls[2 * round]?.resolve()
      await first
      await turn()
      expect(settled).toBe(false)
      expect(calls.length).toBe(2 * round + 2)
      calls[2 * round + 1]?.resolve()
      await second
      flusher.markDirty()
    }
  })

  it('takes a change that completes while it runs for one that it does not cover', async () => {
    const flusher = flusherOf()
    const first = flusher.flush()
    flusher.markDirty()
    calls[0]?.resolve()
    await first
    const second = flusher.flush()
    expect(calls.length).toBe(2)
    calls[1]?.resolve()
    await second
  })

  it('tries again after a failure with direct access', async () => {
    const flusher = flusherOf(true)
    const first = flusher.flush()
    calls[0]?.reject(failure)
    await expect(first).rejects.toMatchObject({ code: 'EIO' })
    const second = flusher.flush()
    calls[1]?.resolve()
    await second
  })

  it('with direct access lets those who wait for the next sync have it after a failure', async () => {
    const flusher = flusherOf(true)
    const first = flusher.flush()
    flusher.markDirty()
    const second = flusher.flush()
    calls[0]?.reject(failure)
    await expect(first).rejects.toMatchObject({ code: 'EIO' })
    await turn()
    expect(calls.length).toBe(2)
    calls[1]?.resolve()
    await second
  })

  it('gives those who ask one after the other their own syncs, each after the one before', async () => {
    const flusher = flusherOf()
    for (let i = 0; i < 3; i++) {
      const running = flusher.flush()
      flusher.markDirty()
      const next = flusher.flush()
      expect(next).not.toBe(running)
      expect(calls.length).toBe(2 * i + 1)
      calls[2 * i]?.resolve()
      await running
      await turn()
      expect(calls.length).toBe(2 * i + 2)
      calls[2 * i + 1]?.resolve()
      await next
      flusher.markDirty()
    }
  })

  it('that is opened again with direct access keeps no failure, and without it does', async () => {
    const flusher = flusherOf()
    flusher.reset(true)
    for (const [direct, expected] of [
      [true, 2],
      [false, 3],
    ] as const) {
      flusher.reset(direct)
      const first = flusher.flush()
      calls.at(-1)?.reject(failure)
      await expect(first).rejects.toMatchObject({ code: 'EIO' })
      const second = flusher.flush()
      calls.at(-1)?.resolve()
      if (direct) await second
      else await expect(second).rejects.toMatchObject({ code: 'EIO' })
      expect(calls.length).toBe(expected)
      flusher.markDirty()
    }
  })
})
