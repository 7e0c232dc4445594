import { Graph } from '@diskgraph/core'
import { opfs } from '@diskgraph/driver-opfs'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { firstDifference, patternOf } from './disks.ts'

let count = 0

/** The suite, with all of a driver's ways to its files that this scope has. */
export async function opfsSuite(): Promise<void> {
  await conformance({
    test: { describe, it },
    driver: opfs,
    async setUp({ size }) {
      const path = `conformance/${++count}`
      await using graph = new Graph({ drivers: [opfs] })
      await graph.create({ driver: 'opfs', path, size })
      return { definition: { driver: 'opfs', path }, tearDown: () => opfs.remove?.({ path }) }
    },
  })

  describe('opfs', () => {
    it('keeps an image over its base, found by its relative name, until another graph opens it', async () => {
      {
        await using graph = new Graph({ drivers: [opfs, qcow2] })
        await graph.create({ driver: 'qcow2', size: 2 ** 22, file: { driver: 'opfs', path: 'disks/base' } })
        const base = await graph.open('opfs:disks/base')
        await base.write(0, patternOf(2 ** 20))
        await base.close()
        const file = { driver: 'opfs', path: 'disks/overlay' } as const
        await graph.create({ driver: 'qcow2', size: 2 ** 22, file, backingFile: 'base', backingFmt: 'qcow2' })
        const overlay = await graph.open('opfs:disks/overlay')
        await overlay.write(65536, new Uint8Array(65536).fill(7))
        await overlay.flush()
      }
      await using graph = new Graph({ drivers: [opfs, qcow2] })
      const overlay = await graph.open('opfs:disks/overlay', { readOnly: true })
      const expected = patternOf(2 ** 20)
      expected.fill(7, 65536, 131072)
      const buf = new Uint8Array(2 ** 20)
      await overlay.read(0, buf)
      expect(firstDifference(buf, expected)).toBe(-1)
      expect((await overlay.check({ repair: 'none' })).corruptions).toBe(0)
    })

    it('says what is wrong with a name', async () => {
      await using graph = new Graph({ drivers: [opfs] })
      const open = (path: string) => graph.add({ driver: 'opfs', path })
      await expect(open('missing')).rejects.toMatchObject({ code: 'ENOENT' })
      await expect(open('missing/disk')).rejects.toMatchObject({ code: 'ENOENT' })
      for (const path of ['', '../disk', 'a//b', '/disk', './disk', 'disks/']) {
        await expect(open(path)).rejects.toMatchObject({ code: 'EINVAL' })
      }
      await graph.create({ driver: 'opfs', path: 'names/file' })
      await expect(open('names')).rejects.toMatchObject({ code: 'EISDIR' })
      await expect(open('names/file/disk')).rejects.toMatchObject({ code: 'EISDIR' })
    })

    it('becomes writable and read-only again', async () => {
      await using graph = new Graph({ drivers: [opfs] })
      await graph.create({ driver: 'opfs', path: 'reopened', size: 4096 })
      const disk = await graph.add({ driver: 'opfs', path: 'reopened', readOnly: true })
      await expect(disk.write(0, new Uint8Array(512))).rejects.toMatchObject({ code: 'EPERM' })
      await graph.reopen(disk.node, { readOnly: false })
      const writer = await graph.attach(disk.node)
      await writer.write(512, new Uint8Array(512).fill(5))
      await writer.close()
      await graph.reopen(disk.node, { readOnly: true })
      const buf = new Uint8Array(1024)
      await disk.read(0, buf)
      expect(buf[511]).toBe(0)
      expect(buf[512]).toBe(5)
    })
  })
}
