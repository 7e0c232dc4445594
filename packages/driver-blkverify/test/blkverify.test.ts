import { writeFile } from 'node:fs/promises'
import { type Disk, Graph } from '@diskgraph/core'
import { blkverify } from '@diskgraph/driver-blkverify'
import { file } from '@diskgraph/driver-file'
import { MemoryStorage, memoryDriver } from '@diskgraph/driver-memory'
import { raw as rawFormat } from '@diskgraph/driver-raw'
import { Faults, peer, runTool, TempFolder } from '@diskgraph/driver-testkit'
import { vdi } from '@diskgraph/driver-vdi'
import { describe, expect, it } from 'vitest'

const size = 2 ** 20

interface Stack {
  readonly disk: Disk
  readonly graph: Graph
  readonly sides: { readonly raw: MemoryStorage; readonly test: MemoryStorage }
  readonly faults: Faults
  readonly warnings: string[]
}

async function open(): Promise<Stack> {
  const sides = { raw: new MemoryStorage(size), test: new MemoryStorage(size) }
  const faults = new Faults()
  const warnings: string[] = []
  const graph = new Graph({
    drivers: [blkverify, memoryDriver(new Map(Object.entries(sides))), faults.driver],
    onWarning: (warning) => warnings.push(warning),
  })
  const disk = await graph.addUnchecked({
    driver: 'blkverify',
    raw: { driver: 'memory', name: 'raw' },
    test: { driver: faults.driver.name, file: { driver: 'memory', name: 'test' } },
  })
  return { disk, graph, sides, faults, warnings }
}

describe('blkverify', () => {
  it('tells the place of a difference, and what both sides hold', async () => {
    const { disk, graph, sides, warnings } = await open()
    await using _ = graph
    await disk.write(1000, Uint8Array.of(1, 2, 3))
    for (const side of [sides.raw, sides.test]) {
      const buf = new Uint8Array(3)
      side.read(1000, buf)
      expect(buf).toEqual(Uint8Array.of(1, 2, 3))
    }
    sides.test.write(1001, Uint8Array.of(9))
    const message =
      'blkverify: read offset=512 bytes=1024 contents mismatch at offset 1001 ' +
      '(raw 02 03 00 00 00 00 00 00 00 00 00 00 00 00 00 00, test 09 03 00 00 00 00 00 00 00 00 00 00 00 00 00 00)'
    await expect(disk.read(512, new Uint8Array(1024))).rejects.toMatchObject({ code: 'EIO', message })
    expect(warnings).toEqual([message])
    await disk.read(0, new Uint8Array(512))
  })

  it('tells when one side fails and the other does not', async () => {
    const { disk, graph, faults } = await open()
    await using _ = graph
    faults.arm({ nth: 1, code: 'EIO', kinds: ['write'] })
    await expect(disk.write(0, new Uint8Array(512))).rejects.toThrow(
      'blkverify: write offset=0 bytes=512 return value mismatch (raw succeeded, test failed with EIO)',
    )
  })

  it('never takes a write that is under way for a difference', async () => {
    const { disk, graph } = await open()
    await using _ = graph
    const buf = new Uint8Array(4096)
    const work = Array.from({ length: 100 }, (_, i) =>
      i % 2 === 0 ? disk.write(0, new Uint8Array(4096).fill(i)) : disk.read(0, buf),
    )
    await Promise.all(work)
  })

  it('has no name without a colon', () => {
    expect(() => blkverify.parseFilename?.('blkverify:a')).toThrow(
      'blkverify requires raw copy and original image path',
    )
  })
})

peer('qemu-io', { describe, it }).it('finds what the real one finds, by the same name', async () => {
  await using folder = await TempFolder.make()
  const [raw, test] = [folder.file('raw'), folder.file('test.vdi')]
  await writeFile(raw, new Uint8Array(size))
  await runTool('qemu-img', ['create', '-f', 'vdi', test, String(size)])
  const name = `blkverify:${raw}:${test}`
  const drivers = [blkverify, file, rawFormat, vdi]
  {
    await using graph = new Graph({ drivers })
    const disk = await graph.open(name, { format: 'raw' })
    await disk.write(5000, new Uint8Array(100).fill(3))
    expect(disk.node.filename).toBe(name)
  }
  expect(await runTool('qemu-io', ['-f', 'raw', '-c', 'read 0 1M', name])).toMatchObject({ status: 0 })
  await runTool('qemu-io', ['-f', 'raw', '-c', 'write -P 9 5001 1', raw])
  const difference = 'blkverify: read offset=4096 bytes=4096 contents mismatch at offset 5001'
  const real = await runTool('qemu-io', ['-f', 'raw', '-c', 'read 4k 4k', name])
  expect(real.stderr).toContain(difference)
  await using graph = new Graph({ drivers })
  const disk = await graph.open(name, { format: 'raw' })
  await expect(disk.read(4096, new Uint8Array(4096))).rejects.toThrow(difference)
})
