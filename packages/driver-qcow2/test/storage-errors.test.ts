/** Every call to the storage fails in turn in the middle of amendments, applying snapshots and repairs. */
import { readFileSync } from 'node:fs'
import { PagedFile, peer, storeFile } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { failEachCall } from './call-failures.ts'
import { prepare, raw } from './cases.ts'
import { damages, makePatient } from './damage.ts'
import { Folder, qemuCheck, run } from './images.ts'

peer('qemu-img', { describe, it }).describe('a failing storage in the middle of', () => {
  for (const [name, options] of Object.entries({
    'a change of the refcount width': { refcountBits: 64 },
    'an upgrade': { compat: '1.1', lazyRefcounts: true },
    'a downgrade': { compat: '0.10' },
  })) {
    it(`${name} leaves the image with leaks at worst`, async () => {
      using folder = new Folder()
      const path = folder.file('a')
      const create = name === 'an upgrade' ? 'compat=0.10' : 'cluster_size=4k'
      const writes = name === 'a downgrade' ? ['write -z 64k 64k'] : []
      prepare(folder, path, { name: '', create, snapshot: true, writes, amend: {} })
      const content = raw(folder, path)
      const image = PagedFile.from(readFileSync(path))
      const runs = await failEachCall(
        image,
        (disk) => disk.amend({ options }),
        async (file) => {
          storeFile(path, file)
          expect([0, 3]).toContain(qemuCheck(path).code)
          expect(Buffer.compare(raw(folder, path), content)).toBe(0)
        },
      )
      expect(runs).toBeGreaterThan(5)
    })
  }

  it('applying a snapshot leaves the disk as it was or as it was saved', async () => {
    using folder = new Folder()
    const path = folder.file('a')
    prepare(folder, path, { name: '', snapshot: true, amend: {} })
    const [before, after] = [raw(folder, path), raw(folder, path, '-l', 'one')]
    const image = PagedFile.from(readFileSync(path))
    await failEachCall(
      image,
      (disk) => disk.snapshots.apply('one'),
      async (file, failed) => {
        storeFile(path, file)
        expect([0, 3]).toContain(qemuCheck(path).code)
        const content = raw(folder, path)
        expect(Buffer.compare(content, after) === 0 || (failed && Buffer.compare(content, before) === 0)).toBe(true)
      },
    )
  })

  for (const name of [
    'a count of 0 for data',
    'two entries for one cluster',
    'a refcount table that is data',
    'snapshots that are incomplete',
    'the dirty bit and a count of 0',
  ]) {
    it(`a repair loses nothing, and the next one succeeds: ${name}`, async () => {
      using folder = new Folder()
      const damage = damages.find((one) => one.name === name)!
      const { path } = makePatient(folder.file('a'), damage)
      const image = PagedFile.from(readFileSync(path))
      await failEachCall(
        image,
        (disk) => disk.check({ repair: 'all' }),
        async (file, failed) => {
          storeFile(path, file)
          if (failed) run('qemu-img', 'check', '-q', '-r', 'all', path)
          expect(qemuCheck(path)).toMatchObject({ code: 0 })
          expect(
            raw(folder, path)
              .subarray(0, 65536)
              .every((byte) => byte === 1),
          ).toBe(true)
        },
        true,
      )
    })
  }
})
