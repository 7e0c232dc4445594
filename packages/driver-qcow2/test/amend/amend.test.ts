import { spawnSync } from 'node:child_process'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import type { BlockError } from '@diskgraph/core'
import { peer } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { type Case, prepare, raw } from '../cases.ts'
import { Patient } from '../damage.ts'
import { Folder, newGraph, open, qemuCheck, run } from '../images.ts'

const KiB = 1024
const MiB = 1024 * KiB

const cases: readonly Case[] = [
  { name: 'down to version 2', amend: { compat: '0.10' } },
  { name: 'down with 8-bit refcounts', create: 'refcount_bits=8', amend: { compat: '0.10' } },
  { name: 'down, and 16-bit refcounts', create: 'refcount_bits=8', amend: { compat: '0.10', refcountBits: 16 } },
  { name: 'up to version 3', create: 'compat=0.10', amend: { compat: '1.1' } },
  { name: '8-bit refcounts in version 2', create: 'compat=0.10', amend: { refcountBits: 8 } },
  { name: 'up, and 8-bit refcounts', create: 'compat=0.10', amend: { refcountBits: 8, compat: '1.1' } },
  { name: 'lazy refcounts in version 2', create: 'compat=0.10', amend: { lazyRefcounts: true } },
  { name: 'up, and lazy refcounts', create: 'compat=0.10', amend: { lazyRefcounts: true, compat: '1.1' } },
  { name: 'down without lazy refcounts', create: 'lazy_refcounts=on', amend: { compat: '0.10' } },
  { name: 'no lazy refcounts', create: 'lazy_refcounts=on', amend: { lazyRefcounts: false } },
  { name: '3-bit refcounts', amend: { refcountBits: 3 } },
  { name: '128-bit refcounts', amend: { refcountBits: 128 } },
  { name: '1-bit refcounts', amend: { refcountBits: 1 } },
  { name: '1-bit refcounts with a snapshot', snapshot: true, amend: { refcountBits: 1 } },
  { name: '64-bit refcounts with a snapshot', snapshot: true, amend: { refcountBits: 64 } },
  {
    name: '2-bit refcounts with tiny clusters',
    create: 'cluster_size=512',
    snapshot: true,
    amend: { refcountBits: 2 },
  },
  {
    name: '64-bit refcounts with tiny clusters',
    create: 'cluster_size=512,refcount_bits=1',
    amend: { refcountBits: 64 },
  },
  { name: 'a data file', amend: { dataFile: 'x' } },
  { name: 'a raw data file', amend: { dataFileRaw: true } },
  { name: 'a larger disk', amend: { size: 2 * MiB } },
  { name: 'a smaller disk', amend: { size: 512 * KiB } },
  { name: 'a disk of 1000 bytes', amend: { size: 1000 } },
  { name: 'another backing file', amend: { backingFile: 'foo', backingFmt: 'raw' } },
  { name: 'another backing format', amend: { backingFmt: 'raw' } },
  {
    name: 'another size in version 2 with a snapshot',
    create: 'compat=0.10',
    snapshot: true,
    amend: { size: 2 * MiB },
  },
  { name: 'many things', amend: { refcountBits: 1, size: 2 * MiB, lazyRefcounts: true } },
  { name: 'down with zero clusters', writes: ['write -z 0 256k', 'write -z 512k 64k'], amend: { compat: '0.10' } },
  {
    name: 'down with zero clusters over a backing file',
    backing: true,
    writes: ['write -z 64k 64k', 'write -P 3 512k 64k'],
    amend: { compat: '0.10' },
  },
  {
    name: 'down with zero clusters that snapshots share',
    backing: true,
    snapshot: true,
    writes: ['write -z 64k 128k'],
    amend: { compat: '0.10' },
  },
]

function specific(name: string): Record<string, unknown> {
  const info = JSON.parse(run('qemu-img', 'info', '-f', 'qcow2', '--output=json', name))
  return { ...info['format-specific'].data, size: info['virtual-size'], snapshots: (info.snapshots ?? []).length }
}

async function amend(name: string, options: Case['amend']): Promise<string> {
  await using graph = newGraph()
  const disk = await open(graph, name)
  try {
    await disk.amend({ options })
    return ''
  } catch (error) {
    const { message, hint } = error as BlockError
    return hint === undefined ? message : `${message}\n${hint}`
  } finally {
    await disk.close()
  }
}

peer('qemu-img', { describe, it }).describe('amend', () => {
  for (const one of cases) {
    it(`does what qemu-img does: ${one.name}`, async () => {
      using folder = new Folder()
      const [ours, theirs] = [folder.file('ours'), folder.file('theirs')]
      prepare(folder, ours, one)
      copyFileSync(ours, theirs)
      const list = Object.entries(one.amend).map(([key, value]) => {
        const option = key.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)
        return `${option}=${value === true ? 'on' : value === false ? 'off' : value}`
      })
      const peerRun = spawnSync('qemu-img', ['amend', '-f', 'qcow2', '-o', list.join(','), theirs], {
        encoding: 'utf8',
      })
      expect(await amend(ours, one.amend)).toBe(peerRun.stderr.replace(/^qemu-img: /, '').trim())
      expect(specific(ours)).toEqual(specific(theirs))
      expect(qemuCheck(ours)).toMatchObject({ code: 0 })
      expect(Buffer.compare(raw(folder, ours), raw(folder, theirs))).toBe(0)
      if (one.snapshot === true) {
        expect(Buffer.compare(raw(folder, ours, '-l', 'one'), raw(folder, theirs, '-l', 'one'))).toBe(0)
      }
    })
  }

  for (const { name, damage, message } of [
    {
      name: 'an L2 table that is not aligned',
      damage: (image: Patient) => image.set(image.l1, image.get(image.l1) + 512n),
      message: /^L2 table offset 0x40200 unaligned \(L1 index: 0\)$/,
    },
    {
      name: 'guest data for an L2 table',
      damage: (image: Patient) => image.set(image.l1, (1n << 63n) | 0x50000n),
      message: /^entry 0 of the L2 table at 0x50000 has reserved bits set$/,
    },
    {
      name: 'a zero cluster that is not aligned',
      damage: (image: Patient) => image.set(image.l2, image.get(image.l2) + 513n),
      message: /^Cluster allocation offset 0x[0-9a-f]+ unaligned \(L2 offset: 0x40000, L2 index: 0\)$/,
    },
    {
      name: 'an L2 table far behind the file',
      damage: (image: Patient) => image.set(image.l1, (1n << 63n) | (1n << 50n)),
      message: /^the refcount of the cluster at 0x4000000000000 is wrong$/,
    },
  ]) {
    it(`going down to version 2 changes nothing but the corrupt bit of an image with ${name}`, async () => {
      using folder = new Folder()
      const path = folder.file('a')
      prepare(folder, path, { name: '', writes: ['write -z 512k 128k'], amend: {} })
      damage(new Patient(path))
      const before = readFileSync(path)
      await using graph = newGraph()
      const disk = await open(graph, path)
      const started = performance.now()
      await expect(disk.amend({ options: { compat: '0.10' } })).rejects.toMatchObject({
        code: 'EIO',
        message: expect.stringMatching(message),
      })
      expect(performance.now() - started).toBeLessThan(4000)
      await disk.close()
      const after = readFileSync(path)
      after[79] = before[79]!
      expect(Buffer.compare(after, before)).toBe(0)
    })
  }

  it('an upgrade gives snapshots the size of the disk that version 3 demands', async () => {
    using folder = new Folder()
    await using graph = newGraph()
    const path = folder.file('a')
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'compat=0.10', path, '1M')
    run('qemu-img', 'snapshot', '-c', 'one', path)
    // An entry without extra data, as old programs wrote it: id and name follow at once.
    const bytes = readFileSync(path)
    const table = Number(bytes.readBigUInt64BE(64))
    bytes.copyWithin(table + 40, table + 40 + bytes.readUInt32BE(table + 36), table + 100)
    bytes.writeUInt32BE(0, table + 36)
    writeFileSync(path, bytes)
    const disk = await open(graph, path)
    await disk.amend({ options: { compat: '1.1' } })
    await disk.close()
    const after = readFileSync(path)
    expect(after.readUInt32BE(Number(after.readBigUInt64BE(64)) + 36)).toBeGreaterThanOrEqual(16)
    expect(run('qemu-img', 'snapshot', '-l', path)).toContain('one')
    expect(qemuCheck(path)).toMatchObject({ code: 0 })
  })

  it('an amended image goes on working', async () => {
    using folder = new Folder()
    const name = folder.file('a')
    prepare(folder, name, { name: '', snapshot: true, amend: {} })
    await using graph = newGraph()
    const disk = await open(graph, name)
    for (const refcountBits of [64, 8, 16, 4, 32]) {
      await disk.amend({ options: { refcountBits } })
      await disk.write(refcountBits * KiB, new Uint8Array(300 * KiB).fill(refcountBits))
      await disk.snapshots.create({ name: `with ${refcountBits}` })
      await disk.snapshots.delete('1')
      await disk.snapshots.create({ name: 'again', id: '1' })
      await disk.flush()
      if (refcountBits === 8) await disk.snapshots.delete('with 64')
      expect((await disk.check({ repair: 'none' })).corruptions).toBe(0)
    }
    await disk.close()
    expect(qemuCheck(name)).toMatchObject({ code: 0 })
  })
})
