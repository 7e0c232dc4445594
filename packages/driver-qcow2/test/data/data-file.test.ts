/** Images whose guest data stands in a file of its own. */
import { execFileSync } from 'node:child_process'
import { existsSync, linkSync, readFileSync, writeFileSync } from 'node:fs'
import { Graph } from '@diskgraph/core'
import { Flag } from '@diskgraph/core/driver'
import { file } from '@diskgraph/driver-file'
import { memory } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { raw } from '@diskgraph/driver-raw'
import { peer } from '@diskgraph/driver-testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { Folder, newGraph, open, qemuCheck, run } from '../images.ts'

const size = 1024 * 1024
const folder = new Folder()
afterEach(() => execFileSync('sh', ['-c', `rm -f ${folder.path}/*`]))

/** Makes `disk.qcow2` with the data file `disk.raw`. */
async function make(graph: Graph, options: Record<string, unknown> = {}): Promise<string> {
  const filename = folder.file('disk.qcow2')
  const dataFile = { driver: 'file', filename: folder.file('disk.raw') }
  await graph.createUnchecked({ driver: 'qcow2', file: { driver: 'file', filename }, dataFile, size, ...options })
  return filename
}

const bytes = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value)

describe('an external data file', () => {
  it('is another file than the image, by whatever name and without locks', async () => {
    await using graph = newGraph()
    const storage = (name: string) => ({ driver: 'file', filename: folder.file(name), locking: 'off' })
    writeFileSync(folder.file('disk.qcow2'), '')
    linkSync(folder.file('disk.qcow2'), folder.file('link'))
    const making = graph.createUnchecked({
      driver: 'qcow2',
      file: storage('disk.qcow2'),
      dataFile: storage('link'),
      size,
    })
    await expect(making).rejects.toThrow("link' cannot be both 'file' and 'dataFile' of one new image")
  })

  it('has guest data where the disk has it, and nothing of it is in the image', async () => {
    await using graph = newGraph()
    const filename = await make(graph)
    const disk = await open(graph, filename)
    await disk.write(300_000, bytes(1000, 7))
    await disk.close()
    const data = readFileSync(folder.file('disk.raw'))
    expect(data.length).toBe(size)
    expect([data[299_999], data[300_000], data[300_999], data[301_000]]).toEqual([0, 7, 7, 0])
    expect(readFileSync(filename).includes(Buffer.from(bytes(1000, 7)))).toBe(false)
  })

  it('is a child of the node, found by the name in the image', async () => {
    await using graph = newGraph()
    const disk = await open(graph, await make(graph))
    expect(disk.node.children.get('dataFile')?.node.filename).toBe(folder.file('disk.raw'))
  })

  it('passes the gate for names in images', async () => {
    const filename = await make(newGraph())
    await using graph = new Graph({ drivers: [file, raw, qcow2], references: 'deny' })
    await expect(open(graph, filename)).rejects.toThrow(/refusing to open the 'dataFile' file/)
    const given = await open(graph, filename, { dataFile: { driver: 'file', filename: folder.file('disk.raw') } })
    expect(given.size).toBe(size)
  })

  it.each(['json:{"driver":"file","filename":"/etc/hostname"}', 'http://host/x', '../x', 'a\0b', '/etc/hostname'])(
    'is not opened by the name %j in an image from anyone',
    async (name) => {
      const maker = newGraph()
      const filename = await make(maker)
      const disk = await open(maker, filename)
      await disk.amend({ options: { dataFile: name } })
      await maker.close()
      await using graph = new Graph({ drivers: [file, raw, qcow2] })
      await expect(open(graph, filename)).rejects.toMatchObject({ code: 'EACCES' })
    },
  )

  it('is not looked at by an inspection', async () => {
    await using graph = newGraph()
    const filename = await make(graph)
    execFileSync('rm', [folder.file('disk.raw')])
    const info = await graph.describe(filename, 'qcow2')
    expect(info.specific?.data).toMatchObject({ dataFile: folder.file('disk.raw'), dataFileRaw: false })
    await expect(open(graph, filename)).rejects.toThrow(/No such file/i)
  })

  it('is required, and refused where there is none', async () => {
    await using graph = newGraph()
    const filename = await make(graph)
    const disk = await open(graph, filename)
    await disk.amend({ options: { dataFile: '' } })
    await disk.close()
    await expect(open(graph, filename)).rejects.toThrow("'data-file' is required for this image")
    const plain = folder.file('plain.qcow2')
    await graph.createUnchecked({ driver: 'qcow2', file: { driver: 'file', filename: plain }, size })
    const dataFile = { driver: 'file', filename: folder.file('disk.raw') }
    await expect(open(graph, plain, { dataFile })).rejects.toThrow(/can only be set for images with an external/)
  })

  it('takes no compressed clusters and no snapshots', async () => {
    await using graph = newGraph()
    const disk = await open(graph, await make(graph))
    await expect(disk.write(0, bytes(65536, 1), Flag.Compressed)).rejects.toMatchObject({ code: 'ENOTSUP' })
    await expect(disk.snapshots.create({ name: 'a' })).rejects.toMatchObject({ code: 'ENOTSUP' })
  })

  it('grows and shrinks with the disk', async () => {
    await using graph = newGraph()
    const disk = await open(graph, await make(graph))
    await disk.truncate(3 * size)
    expect(readFileSync(folder.file('disk.raw')).length).toBe(3 * size)
    await disk.truncate(size / 2)
    expect(readFileSync(folder.file('disk.raw')).length).toBe(size / 2)
  })

  it('does not grow behind the end of a disk that ends inside a cluster', async () => {
    await using graph = newGraph()
    const disk = await open(graph, await make(graph, { size: 70_144 }))
    await disk.write(69_632, bytes(512, 1))
    await disk.close()
    expect(readFileSync(folder.file('disk.raw')).length).toBe(70_144)
  })

  it('that reads as the disk does keeps what stands in it, and gets zeroes and discards', async () => {
    await using graph = newGraph()
    writeFileSync(folder.file('disk.raw'), bytes(size, 42))
    const data = await graph.addUnchecked(
      { driver: 'file', filename: folder.file('disk.raw'), nodeName: 'data' },
      { permissions: 0 },
    )
    const filename = folder.file('disk.qcow2')
    const options = { driver: 'qcow2', file: { driver: 'file', filename }, dataFile: 'data', dataFileRaw: true, size }
    await graph.createUnchecked(options)
    await data.close()
    const disk = await open(graph, filename, { discard: 'unmap' })
    const all = new Uint8Array(size)
    await disk.read(0, all)
    expect(all).toEqual(bytes(size, 42))
    await disk.writeZeroes(100, 5000)
    await disk.writeZeroes(65536, 65536)
    await disk.discard(131_072, 65536)
    await disk.write(200_000, bytes(10, 1))
    await disk.read(0, all)
    await disk.close()
    expect(readFileSync(folder.file('disk.raw')).equals(all)).toBe(true)
    expect(all.subarray(65536, 196_608).every((byte) => byte === 0)).toBe(true)
  })

  it('keeps its mark of reading as the disk does when it is written, and loses it by amendment alone', async () => {
    await using graph = newGraph()
    const filename = await make(graph, { dataFileRaw: true })
    const isRaw = async () => (await graph.describe(filename, 'qcow2')).specific?.data.dataFileRaw
    const disk = await open(graph, filename)
    await disk.write(0, bytes(10, 1))
    expect(await isRaw()).toBe(true)
    await expect(disk.node.image.changeBacking?.('x', 'raw')).rejects.toMatchObject({ code: 'EINVAL' })
    await disk.amend({ options: { dataFileRaw: false } })
    expect(await isRaw()).toBe(false)
    await expect(disk.amend({ options: { dataFileRaw: true } })).rejects.toThrow(/cannot be set on existing images/)
  })

  it('is safe before the mapping points to it', async () => {
    await using graph = new Graph({ drivers: [memory, qcow2] })
    const storage = { driver: 'memory', name: 'a' }
    const dataFile = { driver: 'memory', name: 'b' }
    await graph.createUnchecked({ driver: 'qcow2', file: storage, dataFile, size })
    const disk = await graph.addUnchecked({ driver: 'qcow2', file: storage, dataFile })
    const order: string[] = []
    for (const name of ['file', 'dataFile']) {
      const { image } = disk.node.children.get(name)!.node
      const { flush, write } = image
      Object.assign(image, {
        flush: () => {
          order.push(`flush ${name}`)
          return flush?.call(image) ?? Promise.resolve()
        },
        write: (...args: Parameters<NonNullable<typeof write>>) => {
          order.push(`write ${name}`)
          return write!.apply(image, args)
        },
      })
      disk.node.children.get(name)!.node.updatePaths()
    }
    await disk.write(0, bytes(65536, 1))
    order.length = 0
    await disk.write(65536, bytes(65536, 1))
    await disk.flush()
    // The refcounts may go first; then the data is made safe, and after it the L2 entry is written.
    const before = ['write dataFile', 'write file', 'flush dataFile', 'flush file', 'write file']
    expect(order.slice(0, before.length)).toEqual(before)
  })

  it('whose image maps a cluster elsewhere is damage', async () => {
    await using graph = newGraph()
    const filename = await make(graph)
    const disk = await open(graph, filename)
    await disk.write(0, bytes(10, 1))
    await disk.close()
    const image = readFileSync(filename)
    const l1 = Number(image.readBigUInt64BE(40))
    const l2 = Number(image.readBigUInt64BE(l1) & 0xfffffffffffe00n)
    image.writeBigUInt64BE(0x8000000000050000n, l2)
    writeFileSync(filename, image)
    const damaged = await open(graph, filename, { readOnly: true })
    await expect(damaged.read(0, bytes(10, 0))).rejects.toThrow(/does not match guest cluster offset: 0/)
  })
})

peer('qemu-img', { describe, it }).describe('an external data file beside qemu-img', () => {
  it.each([false, true])('is checked clean and reads the same (raw: %s)', async (dataFileRaw) => {
    await using graph = newGraph()
    const filename = await make(graph, { dataFileRaw, clusterSize: 4096 })
    const disk = await open(graph, filename, { discard: 'unmap' })
    const model = new Uint8Array(size)
    let seed = 12345
    const next = (limit: number): number => {
      seed = (seed * 1103515245 + 12345) % 2 ** 31
      return seed % limit
    }
    for (let i = 0; i < 300; i++) {
      const offset = next(size - 20_000)
      const length = 1 + next(20_000)
      const kind = next(4)
      if (kind < 2) {
        await disk.write(offset, bytes(length, i % 255))
        model.fill(i % 255, offset, offset + length)
      } else if (kind === 2) {
        await disk.writeZeroes(offset, length)
        model.fill(0, offset, offset + length)
      } else {
        const start = Math.ceil(offset / 4096) * 4096
        await disk.discard(start, 8192)
        model.fill(0, start, start + 8192)
      }
    }
    expect((await disk.check({})).corruptions).toBe(0)
    await disk.close()
    expect(qemuCheck(filename)).toMatchObject({ code: 0 })
    run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', filename, folder.file('copy'))
    expect(readFileSync(folder.file('copy')).equals(model)).toBe(true)
    if (dataFileRaw) expect(readFileSync(folder.file('disk.raw')).equals(model)).toBe(true)
  })

  it('that qemu-img made is read', async () => {
    const filename = folder.file('theirs.qcow2')
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', `data_file=${folder.file('theirs.raw')}`, filename, '1M')
    run('qemu-io', '-c', 'write -P 5 64k 128k', '-c', 'write -z 64k 64k', filename)
    await using graph = newGraph()
    const disk = await open(graph, filename)
    const all = new Uint8Array(size)
    await disk.read(0, all)
    expect([all[65536], all[131_072], all[196_607], all[196_608]]).toEqual([0, 5, 5, 0])
    expect(existsSync(folder.file('theirs.raw'))).toBe(true)
  })
})
