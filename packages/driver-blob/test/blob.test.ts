import { openAsBlob } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Graph } from '@diskgraph/core'
import { blob } from '@diskgraph/driver-blob'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { afterEach, describe, expect, it } from 'vitest'

describe('blob', () => {
  const graph = new Graph({ drivers: [blob] })
  afterEach(() => graph.close())

  it('does what the README shows', async () => {
    mustShowExample(import.meta.url)
    await using graph = new Graph({ drivers: [blob] })
    const disk = await graph.add({ driver: 'blob', blob: new Blob([new Uint8Array(4096).fill(7)]) })
    await disk.read(1000, new Uint8Array(512))
  })

  it('is read-only and named after its file', async () => {
    const disk = await graph.add({ driver: 'blob', blob: new File(['hello'], 'disk.img') })
    expect(disk.readOnly).toBe(true)
    expect(disk.filename).toBe('blob:disk.img')
    expect(disk.size).toBe(5)
  })

  it('refuses what is not a Blob', async () => {
    const opening = graph.addUnchecked({ driver: 'blob', blob: 'disk.img' })
    await expect(opening).rejects.toMatchObject({ code: 'EINVAL', message: expect.stringContaining('a Blob') })
  })

  it('says ESTALE when the file behind it has changed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'diskgraph-'))
    const path = join(folder, 'disk.img')
    await writeFile(path, 'first')
    const disk = await graph.add({ driver: 'blob', blob: await openAsBlob(path) })
    await writeFile(path, 'second, longer')
    await expect(disk.read(0, new Uint8Array(5))).rejects.toMatchObject({ code: 'ESTALE' })
    await rm(folder, { recursive: true })
  })
})
