import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Graph, Permission } from '@diskgraph/core'
import { blkdebug } from '@diskgraph/driver-blkdebug'
import { file } from '@diskgraph/driver-file'
import { memory } from '@diskgraph/driver-memory'
import { raw } from '@diskgraph/driver-raw'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { blkdebug as browserBlkdebug } from '../src/index.browser.ts'
import { codeOf, open } from './stack.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'diskgraph-blkdebug-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('limits of blkdebug', () => {
  it('widen, split and cut what reaches the image', async () => {
    const { graph, disk, node } = await open(
      { align: 512, maxTransfer: 1024, optWriteZero: 2048, maxWriteZero: 4096, optDiscard: 1536, maxDiscard: 3072 },
      { raw: false },
    )
    expect(node.limits).toMatchObject({
      alignment: 512,
      maxTransfer: 1024,
      writeZeroesAlignment: 2048,
      maxWriteZeroes: 4096,
      maxDiscard: 3072,
    })
    await disk.write(100, new Uint8Array(5000).fill(9))
    await disk.writeZeroes(1000, 9000)
    await disk.discard(0, 10_000)
    const buf = new Uint8Array(100)
    await disk.read(0, buf)
    await graph.close()
  })

  it.each([
    [0, 10_000, ['0+3072', '3072+3072', '6144+3072', '9216+512']],
    [1000, 1200, ['1024+512', '1536+512']],
    [1536, 1536, ['1536+1536']],
    [2048, 4096, ['2048+1024', '3072+3072']],
    [512, 1024, ['512+1024']],
    [600, 500, []],
  ])('cut discards of %i+%i at multiples of opt-discard, and drop nothing whole', async (offset, length, expected) => {
    const { graph, disk, node } = await open({ align: 512, optDiscard: 1536, maxDiscard: 3072 }, { raw: false })
    const seen: string[] = []
    const { image } = node.children.get('image')!.node
    image.discard = async (at, bytes) => void seen.push(`${at}+${bytes}`)
    await disk.discard(offset, length)
    expect(seen).toEqual(expected)
    await graph.close()
  })

  it.each([
    [{ align: 3 }, 'Cannot meet constraints with align 3'],
    [{ align: 2 ** 32 }, 'Cannot meet constraints with align 4294967296'],
    [{ align: 512, maxTransfer: 1000 }, 'Cannot meet constraints with max-transfer 1000'],
    [{ align: 512, optWriteZero: 1000 }, 'Cannot meet constraints with opt-write-zero 1000'],
    [{ optWriteZero: 1024, maxWriteZero: 1000 }, 'Cannot meet constraints with max-write-zero 1000'],
    [{ align: 512, optDiscard: 7 }, 'Cannot meet constraints with opt-discard 7'],
    [{ align: 512, maxDiscard: 3 }, 'Cannot meet constraints with max-discard 3'],
  ])('%j cannot be met', async (options, message) => {
    await expect(open(options)).rejects.toThrow(message)
  })
})

describe('permissions of blkdebug', () => {
  it('do not include writing when the image ends inside a block of align', async () => {
    await expect(open({ align: 4096 }, { raw: false, size: 1536 })).rejects.toThrow(
      "Cannot get 'write' permission without 'resize': Image size is not a multiple of request alignment",
    )
  })

  it('are what the parents need, and what the options add and withhold', async () => {
    const graph = new Graph({ drivers: [blkdebug, memory] })
    const disk = await graph.add({
      driver: 'blkdebug',
      image: { driver: 'memory', size: 512, nodeName: 'image' },
      takeChildPerms: ['resize'],
      unshareChildPerms: ['write', 'consistent-read'],
    })
    const [edge] = graph.find('image')?.parents ?? []
    expect(edge?.permissions).toBe(Permission.ConsistentRead | Permission.Write | Permission.Resize)
    expect(edge?.shared).toBe(Permission.WriteUnchanged | Permission.Resize)
    await expect(graph.attach('image')).rejects.toMatchObject({ code: 'EPERM' })
    await disk.close()
  })
})

describe('file names of blkdebug', () => {
  it('name a configuration file and an image', async () => {
    await writeFile(join(folder, 'rules'), '[inject-error]\nevent = "none"\nerrno = "28"\nsector = "2"\n')
    await writeFile(join(folder, 'disk:1'), new Uint8Array(2048))
    const graph = new Graph({ drivers: [blkdebug, file, raw] })
    const name = `blkdebug:${folder}/rules:${folder}/disk:1`
    const disk = await graph.open(name, { format: 'raw' })
    expect(disk.filename).toBe(name)
    expect(await codeOf(disk.read(0, new Uint8Array(1024)))).toBe(undefined)
    expect(await codeOf(disk.read(1024, new Uint8Array(512)))).toBe('ENOSPC')
    await graph.close()
  })

  it('may leave the configuration file out', async () => {
    const graph = new Graph({ drivers: [blkdebug, memory, raw] })
    await graph.create({ driver: 'memory', name: 'disk', size: 1024 })
    const disk = await graph.open('blkdebug::memory:disk', { format: 'raw' })
    expect(disk.filename).toBe('blkdebug::memory:disk')
    await graph.close()
    await expect(graph.open('blkdebug:disk')).rejects.toThrow('blkdebug requires both config file and image path')
  })

  it('are json: where rules are given as options, and open the same again', async () => {
    const { graph, node } = await open({
      align: 512,
      injectError: [{ event: 'none', sector: 3 }],
      setState: [{ event: 'read_aio', newState: 2 }],
    })
    expect(node.filename).toBe(
      'json:{"set-state.0.event": "read_aio", "image": {"name": "image", "driver": "memory"}, "driver": "blkdebug", "set-state.0.new_state": 2, "inject-error.0.event": "none", "inject-error.0.sector": 3, "align": 512}',
    )
    const disk = await graph.open(node.filename.replace('"name": "image"', '"size": 4096'))
    expect(await codeOf(disk.read(3 * 512, new Uint8Array(1)))).toBe('EIO')
    await graph.close()
  })

  it('take rules from keys such as inject-error.0.event', async () => {
    const graph = new Graph({ drivers: [blkdebug, memory] })
    const disk = await graph.addQapi({
      driver: 'blkdebug',
      'image.driver': 'memory',
      'image.size': '4k',
      'inject-error.0.event': 'none',
      'inject-error.0.errno': '28',
      'inject-error.0.once': 'on',
      'set-state': [{ event: 'read_aio', new_state: 2 }],
    })
    expect(await codeOf(disk.read(0, new Uint8Array(1)))).toBe('ENOSPC')
    await graph.close()
  })
})

describe('configuration files', () => {
  it('that cannot be read are told apart', async () => {
    await expect(open({ config: join(folder, 'missing') })).rejects.toMatchObject({
      code: 'ENOENT',
      message: expect.stringContaining('Could not read blkdebug config file: No such file or directory'),
    })
    await expect(open({ config: folder })).rejects.toMatchObject({ code: 'EISDIR' })
    await writeFile(join(folder, 'long'), '#'.repeat(2 ** 20 + 1))
    await expect(open({ config: join(folder, 'long') })).rejects.toMatchObject({ code: 'EFBIG' })
  })

  it('with values that do not fit are refused', async () => {
    for (const [line, message] of [
      ['errno = "x"', 'errno'],
      ['event = "nonsense"', "Parameter 'event' expects one of"],
      ['bogus = "1"', "Invalid parameter 'bogus'"],
      ['once = "maybe"', "Parameter 'once' expects 'on' or 'off'"],
      ['errno = "1"', "A value is required for option 'event'"],
    ] as const) {
      await writeFile(join(folder, 'bad'), `[inject-error]\n${line}\n`)
      await expect(open({ config: join(folder, 'bad') })).rejects.toThrow(message)
    }
  })

  it('are refused where there are no files', async () => {
    const graph = new Graph({ drivers: [browserBlkdebug, memory] })
    const image = { driver: 'memory', size: 512 } as const
    await expect(graph.add({ driver: 'blkdebug', config: 'x', image })).rejects.toMatchObject({ code: 'ENOTSUP' })
    await graph.add({ driver: 'blkdebug', image })
    await graph.close()
  })
})
