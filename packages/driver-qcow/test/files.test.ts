import { readFileSync, writeFileSync } from 'node:fs'
import { Graph } from '@diskgraph/core'
import { file } from '@diskgraph/driver-file'
import { qcow } from '@diskgraph/driver-qcow'
import { raw } from '@diskgraph/driver-raw'
import { MemoryFiles, peer, runTool, TempFolder } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const qemu = peer('qemu-img', { describe, it })

async function qemuImg(...words: string[]): Promise<void> {
  const { status, stderr } = await runTool('qemu-img', words)
  expect(`${status} ${stderr}`).toBe('0 ')
}

function newGraph(): Graph {
  return new Graph({ drivers: [file, raw, qcow], references: 'allow', onWarning: () => undefined })
}

qemu.describe('an image', () => {
  it('has the header that qemu-img writes', async () => {
    await using folder = await TempFolder.make()
    await using graph = newGraph()
    const target = { driver: 'file', filename: folder.file('ours') } as const
    await graph.create({ driver: 'qcow', file: target, size: 10_000_000 })
    await qemuImg('create', '-q', '-f', 'qcow', folder.file('theirs'), '10000000')
    const [ours, theirs] = ['ours', 'theirs'].map((name) => readFileSync(folder.file(name)).subarray(0, 560))
    expect(ours).toEqual(theirs)
  })

  it('with clusters that qemu-io has compressed is read', async () => {
    await using folder = await TempFolder.make()
    await qemuImg('create', '-q', '-f', 'qcow', folder.file('image'), '1M')
    const writes = ['-c', 'write -c -P 5 8k 4k', '-c', 'write -c -P 6 64k 4k']
    const { status } = await runTool('qemu-io', ['-f', 'qcow', ...writes, folder.file('image')])
    expect(status).toBe(0)
    await using graph = newGraph()
    const disk = await graph.open(folder.file('image'), { format: 'qcow' })
    await disk.write(8192 + 100, new Uint8Array(10).fill(9))
    const buf = new Uint8Array(65536 + 4096)
    await disk.read(0, buf)
    expect([buf[8191], buf[8192], buf[8300], buf[12287], buf[12288], buf[65536], buf[69631]]).toEqual([
      0, 5, 9, 5, 0, 6, 6,
    ])
  })

  it('that stands on another is read by qemu-img', async () => {
    await using folder = await TempFolder.make()
    await qemuImg('create', '-q', '-f', 'raw', folder.file('base'), '1M')
    await using graph = newGraph()
    const target = { driver: 'file', filename: folder.file('top') } as const
    await graph.create({ driver: 'qcow', file: target, size: 2 ** 20, backingFile: 'base', backingFmt: 'raw' })
    const disk = await graph.open(folder.file('top'), { format: 'qcow' })
    await disk.write(1000, new Uint8Array(300).fill(7))
    await disk.close()
    const content = Buffer.alloc(2 ** 20)
    content.fill(7, 1000, 1300)
    writeFileSync(folder.file('expected'), content)
    await qemuImg('compare', '-f', 'qcow', folder.file('top'), '-F', 'raw', folder.file('expected'))
  })
})

describe('a damaged image', () => {
  const node = { driver: 'testkit-file', name: 'image' }

  /** An image with clusters 3 and 5 written, changed at `offset`. The L1 table stands at 48, the first L2 table at 4096. */
  async function damaged(offset: number, value: bigint, width: number) {
    const files = new MemoryFiles()
    const graph = new Graph({ drivers: [qcow, files.driver], onWarning: () => undefined })
    await graph.createUnchecked({ driver: 'qcow', size: 2 ** 20, file: node })
    const disk = await graph.addUnchecked({ driver: 'qcow', file: node })
    for (const one of [3, 5]) await disk.write(one * 4096, new Uint8Array(4096).fill(one))
    await disk.close()
    const bytes = new Uint8Array(8)
    new DataView(bytes.buffer).setBigUint64(0, value)
    files.file('image').write(offset, bytes.subarray(8 - width))
    return (more = {}) => graph.addUnchecked({ driver: 'qcow', file: node, ...more })
  }

  it.each([
    ['magic', 0, 0n, 4, 'Image not in qcow format'],
    ['version', 4, 4n, 4, 'qcow (v4) does not support qcow version 4'],
    ['size', 24, 1n, 8, 'Image size is too small (must be at least 2 bytes)'],
    ['size, too large', 24, 2n ** 63n, 8, 'Image too large'],
    ['cluster bits', 32, 17n, 1, 'Cluster size must be between 512 and 64k'],
    ['l2 bits', 33, 30n, 1, 'L2 table size must be between 512 and 64k'],
    ['l2 bits, few', 33, 5n, 1, 'L2 table size must be between 512 and 64k'],
    ['encryption', 36, 1n, 4, 'the image is encrypted'],
    ['L1 table', 40, 2n ** 40n, 8, 'the L1 table of the image ends behind the file'],
  ] as const)('is refused: %s', async (_, offset, value, width, text) => {
    const open = await damaged(offset, value, width)
    await expect(open({ readOnly: true })).rejects.toThrow(text)
  })

  it.each([
    ['an L2 table behind the file', 48, 2n ** 40n],
    ['a cluster behind the file', 4096 + 3 * 8, 2n ** 40n],
    ['compressed data behind the file', 4096 + 3 * 8, 2n ** 63n + 2n ** 40n],
    ['compressed data that is none', 4096 + 3 * 8, 2n ** 63n + (100n << 51n) + 8192n],
  ] as const)('is an error where it is read: %s', async (_, offset, value) => {
    const open = await damaged(offset, value, 8)
    const disk = await open({ readOnly: true })
    await expect(disk.read(3 * 4096, new Uint8Array(512))).rejects.toMatchObject({ code: 'EIO' })
  })
})
