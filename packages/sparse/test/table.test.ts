import type { ChildHandle } from '@diskgraph/core/driver'
import { describe, expect, it } from 'vitest'
import { EntryTable } from '../src/table.ts'

/** A file that notes what is done to it; `held` keeps its flushes back. */
class NotedFile {
  readonly calls: string[] = []
  fail = false
  held: Promise<void> | undefined

  async write(offset: number, buf: Uint8Array): Promise<void> {
    if (this.fail) throw new Error('no')
    this.calls.push(`write ${offset} +${buf.length}: ${buf[0]}`)
  }

  async flush(): Promise<void> {
    await this.held
    this.calls.push('flush')
  }

  get handle(): ChildHandle {
    return this as unknown as ChildHandle
  }
}

function table(): EntryTable {
  return new EntryTable(512, new Uint8Array(5 * 4096), true)
}

describe('a table of entries', () => {
  it('is written behind a flush, and that behind what must come before', async () => {
    const file = new NotedFile()
    const entries = table()
    entries.set(0, 7)
    await entries.flush(file.handle, async () => void file.calls.push('before'))
    expect(file.calls).toEqual(['before', 'flush', 'write 512 +4096: 7'])
    expect(entries.dirty).toBe(false)
  })

  it('is written where it changed, neighbours as one', async () => {
    const file = new NotedFile()
    const entries = table()
    for (const index of [4096, 1024, 2047]) entries.set(index, 9)
    await entries.flush(file.handle, async () => {})
    expect(file.calls).toEqual(['flush', 'write 4608 +4096: 9', 'write 16896 +4096: 9'])
  })

  it('does not write what is set while the flush is on its way', async () => {
    const file = new NotedFile()
    const entries = table()
    let go = (): void => {}
    file.held = new Promise((resolve) => {
      go = resolve
    })
    entries.set(0, 1)
    const flushed = entries.flush(file.handle, async () => {})
    await Promise.resolve()
    entries.set(0, 2)
    go()
    await flushed
    expect(file.calls).toEqual(['flush', 'write 512 +4096: 1'])
    expect(entries.dirty).toBe(true)
    await entries.flush(file.handle, async () => {})
    expect(file.calls.at(-1)).toBe('write 512 +4096: 2')
  })

  it('is still to be written after a failure', async () => {
    const file = new NotedFile()
    const entries = table()
    entries.set(3, 1)
    file.fail = true
    await expect(entries.flush(file.handle, async () => {})).rejects.toThrow('no')
    expect(entries.dirty).toBe(true)
  })

  it('forgets changes that a smaller one has no place for', async () => {
    const file = new NotedFile()
    const entries = table()
    entries.set(5000, 1)
    entries.resize(1024, 0)
    await entries.flush(file.handle, async () => {})
    expect(file.calls).toEqual([])
  })
})
