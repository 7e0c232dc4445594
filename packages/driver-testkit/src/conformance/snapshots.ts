import type { Disk } from '@diskgraph/core'
import { must, mustEqual, mustReject } from '../assertions.ts'
import { compareWhole, performBatch } from '../exercise.ts'
import { Model } from '../model.ts'
import type { Case, Fixture } from './fixture.ts'
import { checkImage } from './random-operations.ts'

async function wholeOf(disk: Disk): Promise<Uint8Array> {
  const bytes = new Uint8Array(disk.size)
  await disk.read(0, bytes)
  return bytes
}

async function writeSome(fixture: Fixture, disk: Disk, model: Model): Promise<void> {
  for (let i = 0; i < 8; i++) {
    const length = fixture.random.between(1, 100_000)
    const offset = fixture.random.below(disk.size - length)
    await performBatch(disk, model, [{ kind: 'write', offset, data: fixture.random.bytes(length), flags: 0 }])
  }
}

/** What internal snapshots and checks promise. */
export const snapshotCases: readonly Case[] = [
  {
    name: 'shows with a snapshot what the disk held when it was taken, and keeps the others when one is deleted',
    needs: ['write', 'persistence', 'snapshots'],
    run: async (fixture) => {
      const disk = await fixture.open()
      const model = fixture.model(disk)
      const taken = new Map<string, Uint8Array>()
      for (const name of ['one', 'two', 'three']) {
        await writeSome(fixture, disk, model)
        await disk.snapshots.create({ name })
        taken.set(name, model.bytes.slice())
      }
      await writeSome(fixture, disk, model)
      must(disk.snapshots.list().length === 3, `there are ${disk.snapshots.list().length} snapshots instead of 3`)
      await disk.snapshots.delete('two')
      await compareWhole(disk, model, 'after a snapshot was deleted')
      await disk.close()
      const again = await fixture.open()
      must(
        again.snapshots
          .list()
          .map(({ name }) => name)
          .join() === 'one,three',
        'the snapshots differ after opening again',
      )
      for (const name of ['one', 'three', 'one']) {
        await again.snapshots.apply(name)
        mustEqual(await wholeOf(again), taken.get(name) as Uint8Array, `the disk after applying '${name}'`)
        await writeSome(fixture, again, new Model((taken.get(name) as Uint8Array).slice()))
      }
      await checkImage(again)
    },
  },
  {
    name: 'refuses to apply or delete snapshots that are not there, and tells two snapshots apart',
    needs: ['write', 'persistence', 'snapshots'],
    run: async (fixture) => {
      const disk = await fixture.open()
      await mustReject(disk.snapshots.apply('none'), 'applying a snapshot that is not there')
      await mustReject(disk.snapshots.delete('none'), 'deleting a snapshot that is not there')
      const first = await disk.snapshots.create({ name: 'a' })
      const second = await disk.snapshots.create({ name: 'b' })
      must(first.id !== second.id, 'two snapshots have the same id')
      await checkImage(disk)
    },
  },
  {
    name: 'finds nothing to repair in an image that is intact, and changes nothing in it',
    needs: ['write', 'persistence', 'check'],
    run: async (fixture) => {
      const disk = await fixture.open()
      const model = fixture.model(disk)
      await writeSome(fixture, disk, model)
      await disk.flush()
      const found: string[] = []
      const result = await disk.check({ repair: 'all', onFinding: (_, text) => found.push(text) })
      const { corruptions, corruptionsFixed, leaks, leaksFixed, checkErrors } = result
      const sum = corruptions + corruptionsFixed + leaks + leaksFixed + checkErrors
      must(sum === 0, `an intact image has ${sum} findings: ${found.slice(0, 5).join('; ')}`)
      await compareWhole(disk, model, 'after the check')
      await writeSome(fixture, disk, model)
      await compareWhole(disk, model, 'after writing on')
      await checkImage(disk)
    },
  },
]
