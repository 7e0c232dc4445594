import { Graph } from '@diskgraph/core'
import { Faults, MemoryFiles, Recording } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

async function open() {
  const files = new MemoryFiles()
  files.put('a').truncate(8192)
  const faults = new Faults()
  const recording = new Recording()
  const graph = new Graph({ drivers: [files.driver, faults.driver, recording.driver] })
  const below = { driver: 'testkit-fault', file: { driver: 'testkit-file', name: 'a' } } as const
  const disk = await graph.add({ driver: 'testkit-recorder', as: 'a', file: below, discard: 'unmap' })
  return { files, faults, recording, disk }
}

describe('faults', () => {
  it('fail the n-th call of the kinds they are about, once', async () => {
    const { faults, disk } = await open()
    faults.arm({ nth: 2, code: 'ENOSPC', kinds: ['write'] })
    await disk.write(0, new Uint8Array(10))
    await disk.read(0, new Uint8Array(10))
    await expect(disk.write(0, new Uint8Array(10))).rejects.toMatchObject({ code: 'ENOSPC' })
    await disk.write(0, new Uint8Array(10))
    expect(faults.hits).toMatchObject([{ kind: 'write', offset: 0, length: 10 }])
  })

  it('may last, and may store a part of what they fail to write', async () => {
    const { faults, disk, files } = await open()
    faults.arm({ nth: 1, code: 'EIO', kinds: ['write'], lasting: true, written: 0.5 })
    await expect(disk.write(0, new Uint8Array(10).fill(1))).rejects.toMatchObject({ code: 'EIO' })
    await expect(disk.write(100, new Uint8Array(10).fill(1))).rejects.toMatchObject({ code: 'EIO' })
    expect([...files.file('a').bytes().subarray(0, 10)]).toEqual([1, 1, 1, 1, 1, 0, 0, 0, 0, 0])
  })
})

describe('a recording', () => {
  it('has what was changed and flushed, with its start and its end, and what failed', async () => {
    const { faults, recording, disk } = await open()
    await disk.write(512, new Uint8Array([1, 2]))
    await disk.read(0, new Uint8Array(512))
    await disk.discard(0, 4096)
    faults.arm({ nth: 1, code: 'EIO', kinds: ['flush'] })
    await expect(disk.flush()).rejects.toMatchObject({ code: 'EIO' })
    expect(recording.calls).toMatchObject([
      { kind: 'write', offset: 512, data: new Uint8Array([1, 2]), start: 1, end: 2, failed: false },
      { kind: 'discard', offset: 0, length: 4096, failed: false },
      { kind: 'flush', failed: true },
    ])
  })
})
