import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { Graph } from '@diskgraph/core'
import { file } from '@diskgraph/driver-file'
import { raw } from '@diskgraph/driver-raw'
import { peer, runTool, TempFolder } from '@diskgraph/driver-testkit'
import { vmdk } from '@diskgraph/driver-vmdk'
import { copy } from '@diskgraph/jobs'
import { describe, expect, it } from 'vitest'

const qemu = peer('qemu-img', { describe, it })
const subformats = [
  'monolithicSparse',
  'monolithicFlat',
  'twoGbMaxExtentSparse',
  'twoGbMaxExtentFlat',
  'streamOptimized',
] as const
const grain = 65536

async function qemuImg(...words: string[]): Promise<string> {
  const { status, stdout, stderr } = await runTool('qemu-img', words)
  expect(`${status} ${stderr}`).toBe('0 ')
  return stdout
}

function newGraph(references: 'allow' | 'neighbours' = 'allow'): Graph {
  return new Graph({ drivers: [file, raw, vmdk], references, onWarning: () => undefined })
}

/** All files of a folder, the CID made the same, and a digest of what follows the descriptor. */
function contents(folder: string): Record<string, readonly string[]> {
  return Object.fromEntries(
    readdirSync(folder)
      .sort()
      .map((name) => {
        const bytes = readFileSync(join(folder, name))
        const head = bytes.subarray(0, 11_000).toString('latin1')
        const digest = createHash('sha256').update(bytes.subarray(11_000)).digest('hex')
        const text = head.replace(/\nCID=[0-9a-f]*/, '\nCID=').replaceAll('\0', '')
        // A CID is written without the zeroes that it begins with, so a file of text alone may be shorter.
        const length = head.startsWith('# Disk') ? text.length : bytes.length
        return [name, [text, `${length}`, digest]]
      }),
  )
}

qemu.describe('files of an image', () => {
  it.each([
    ['monolithicSparse', {}, ''],
    [
      'monolithicSparse',
      { zeroedGrain: true, hwversion: '11', toolsversion: '7' },
      ',zeroed_grain=on,hwversion=11,toolsversion=7',
    ],
    ['monolithicSparse', { compat6: true, adapterType: 'lsilogic' }, ',compat6=on,adapter_type=lsilogic'],
    ['monolithicFlat', {}, ''],
    ['twoGbMaxExtentSparse', { adapterType: 'buslogic' }, ',adapter_type=buslogic'],
    ['twoGbMaxExtentFlat', {}, ''],
    ['streamOptimized', {}, ''],
  ] as const)('are made as qemu-img makes them: %s %j', async (subformat, settings, words) => {
    await using folder = await TempFolder.make()
    const [ours, theirs] = [join(folder.path, 'ours'), join(folder.path, 'theirs')]
    for (const one of [ours, theirs]) mkdirSync(one)
    const size = subformat.startsWith('twoGb') && subformat.endsWith('Sparse') ? 5 * 2 ** 30 : 3 * 2 ** 20
    await using graph = newGraph()
    const target = { driver: 'file', filename: join(ours, 'a b.vmdk') } as const
    await graph.create({ driver: 'vmdk', file: target, size, subformat, ...settings })
    await qemuImg(
      'create',
      '-q',
      '-f',
      'vmdk',
      '-o',
      `subformat=${subformat}${words}`,
      join(theirs, 'a b.vmdk'),
      `${size}`,
    )
    expect(contents(ours)).toEqual(contents(theirs))
  })

  it.each(subformats)('are read by qemu-img as they were written, and the other way round: %s', async (subformat) => {
    await using folder = await TempFolder.make()
    const path = (name: string): string => join(folder.path, name)
    const size = 3 * 2 ** 20 + 512
    const source = Buffer.alloc(size)
    for (const [at, length] of [
      [0, 70_000],
      [400_000, 3],
      [2 ** 20, grain],
      [size - 700, 700],
    ] as const) {
      source.set(Buffer.from(Array.from({ length }, (_, i) => (at + i * 7) % 251)), at)
    }
    writeFileSync(path('source'), source)
    {
      await using graph = newGraph()
      await graph.create({ driver: 'vmdk', file: { driver: 'file', filename: path('ours.vmdk') }, size, subformat })
      const [from, to] = [
        await graph.open(path('source'), { format: 'raw', readOnly: true }),
        await graph.open(path('ours.vmdk')),
      ]
      await copy(from, to)
    }
    await qemuImg('compare', '-f', 'raw', path('source'), '-F', 'vmdk', path('ours.vmdk'))
    await qemuImg('check', path('ours.vmdk'))
    await qemuImg(
      'convert',
      '-f',
      'raw',
      '-O',
      'vmdk',
      '-o',
      `subformat=${subformat}`,
      path('source'),
      path('theirs.vmdk'),
    )
    await using graph = newGraph('neighbours')
    const disk = await graph.open(path('theirs.vmdk'), { readOnly: true })
    const buf = new Uint8Array(disk.size)
    await disk.read(0, buf)
    expect(source.equals(buf)).toBe(true)
    expect(await disk.check()).toMatchObject({ corruptions: 0 })
    const { specific } = await disk.info()
    const told = JSON.parse(await qemuImg('info', '--output=json', path('theirs.vmdk')))['format-specific'].data
    expect(specific).toMatchObject({ data: { cid: told.cid, createType: told['create-type'] } })
    expect(specific?.data.extents).toHaveLength(told.extents.length)
  })
})

qemu.describe('a stream-optimized image', () => {
  it('takes whole grains, each once', async () => {
    await using folder = await TempFolder.make()
    const filename = join(folder.path, 'a.vmdk')
    await using graph = newGraph()
    await graph.create({
      driver: 'vmdk',
      file: { driver: 'file', filename },
      size: 2 ** 20,
      subformat: 'streamOptimized',
    })
    const disk = await graph.open(filename, {}, {})
    await disk.write(grain, new Uint8Array(grain).fill(7))
    await expect(disk.write(2 * grain, new Uint8Array(512))).rejects.toMatchObject({ code: 'EINVAL' })
    await expect(disk.write(grain, new Uint8Array(grain).fill(8))).rejects.toMatchObject({ code: 'EIO' })
    await disk.writeZeroes(4 * grain, 1000)
    const buf = new Uint8Array(3)
    await disk.read(grain + 5, buf)
    expect([...buf]).toEqual([7, 7, 7])
  })
})

qemu.describe('a backing file', () => {
  async function chain(folder: TempFolder): Promise<(name: string) => string> {
    const path = (name: string): string => join(folder.path, name)
    await using graph = newGraph()
    const make = (name: string, more: object): Promise<void> =>
      graph.createUnchecked({
        driver: 'vmdk',
        file: { driver: 'file', filename: path(name) },
        size: 3 * 2 ** 30,
        ...more,
      })
    await make('base.vmdk', { subformat: 'twoGbMaxExtentSparse' })
    const base = await graph.open(path('base.vmdk'))
    await base.write(2 ** 31 - 512, new Uint8Array(1024).fill(5))
    await base.close()
    await make('top.vmdk', { backingFile: 'base.vmdk', backingFmt: 'vmdk', subformat: 'twoGbMaxExtentSparse' })
    return path
  }

  it('shows through every extent', async () => {
    await using folder = await TempFolder.make()
    const path = await chain(folder)
    await using graph = newGraph()
    const disk = await graph.open(path('top.vmdk'))
    await disk.write(2 ** 31 + 4096, new Uint8Array(512).fill(6))
    const buf = new Uint8Array(8192)
    await disk.read(2 ** 31 - 1024, buf)
    expect([buf[0], buf[512], buf[1024], buf[1535], buf[1536], buf[5120]]).toEqual([0, 5, 5, 5, 0, 6])
    await disk.close()
    await qemuImg('compare', path('top.vmdk'), path('top.vmdk'))
  })

  it('is refused when it has been changed since', async () => {
    await using folder = await TempFolder.make()
    const path = await chain(folder)
    await using graph = newGraph()
    const base = await graph.open(path('base.vmdk'))
    await base.write(0, new Uint8Array(512))
    await base.close()
    const disk = await graph.open(path('top.vmdk'), { readOnly: true })
    await expect(disk.read(0, new Uint8Array(512))).rejects.toMatchObject({ code: 'EINVAL' })
  })

  it('must be a vmdk image', async () => {
    await using folder = await TempFolder.make()
    writeFileSync(join(folder.path, 'base'), Buffer.alloc(65536))
    await using graph = newGraph()
    const target = { driver: 'file', filename: join(folder.path, 'top.vmdk') } as const
    await expect(graph.create({ driver: 'vmdk', file: target, size: 65536, backingFile: 'base' })).rejects.toThrow(
      'VMDK',
    )
    expect(existsSync(target.filename)).toBe(false)
  })
})

describe('the names of extents', () => {
  it.each(['/etc/passwd', '../x', 'nbd://host/x'])('are followed to neighbours only: %s', async (name) => {
    await using folder = await TempFolder.make()
    const filename = join(folder.path, 'a.vmdk')
    writeFileSync(
      filename,
      `# Disk DescriptorFile\nversion=1\nCID=1\ncreateType="monolithicFlat"\nRW 1 FLAT "${name}" 0\n`,
    )
    await using graph = newGraph('neighbours')
    await expect(graph.open(filename, { readOnly: true })).rejects.toMatchObject({ code: 'EACCES' })
  })

  it('are literal', async () => {
    await using folder = await TempFolder.make()
    const filename = join(folder.path, 'a.vmdk')
    writeFileSync(
      filename,
      '# Disk DescriptorFile\nversion=1\nCID=1\ncreateType="monolithicFlat"\nRW 1 FLAT "nbd:x" 0\n',
    )
    writeFileSync(join(folder.path, 'nbd:x'), Buffer.alloc(512, 9))
    await using graph = newGraph()
    const disk = await graph.open(filename, { readOnly: true })
    const buf = new Uint8Array(512)
    await disk.read(0, buf)
    expect(buf[511]).toBe(9)
  })
})
