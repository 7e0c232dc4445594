/** What happens where a driver leaves a capability out, or refuses it: ENOTSUP, the emulation, or nothing. */
import { Permission } from '@diskgraph/core/driver'
import { must, mustReject } from '../assertions.ts'
import { compareWhole, performBatch } from '../exercise.ts'
import type { Case, Fixture } from './fixture.ts'

/** A case in which `attempt` must end with ENOTSUP and change nothing. */
function refusal(
  what: string,
  conditions: Pick<Case, 'needs' | 'lacks'>,
  attempt: (disk: Awaited<ReturnType<Fixture['open']>>, fixture: Fixture) => Promise<unknown>,
): Case {
  return {
    ...conditions,
    name: `refuses ${what} with ENOTSUP, and changes nothing`,
    run: async (fixture) => {
      const disk = await fixture.open()
      const model = fixture.model(disk)
      await mustReject(async () => attempt(disk, fixture), what, ['ENOTSUP'])
      must(disk.size === model.bytes.length, `the size changed to ${disk.size}`)
      await compareWhole(disk, model, 'afterwards')
    },
  }
}

/** See the top of the file. */
export const missingMethodCases: readonly Case[] = [
  {
    name: 'refuses to be opened for writing, and every change of what was opened without saying',
    needs: ['read-only'],
    run: async (fixture) => {
      await mustReject(() => fixture.open({ readOnly: false, autoReadOnly: false }), 'opening for writing')
      const disk = await fixture.open()
      const model = fixture.model(disk)
      must(disk.readOnly, 'the node says that it can be written')
      must((disk.edge.permissions & Permission.Write) === 0, 'the handle has the permission to write')
      if (disk.node.driver.kind === 'format') {
        for (const { name, node } of disk.node.children.values())
          must(node.readOnly, `its child '${name}' can be written`)
      }
      await mustReject(() => disk.write(0, new Uint8Array(512)), 'a write', ['EPERM'])
      await mustReject(() => disk.writeZeroes(0, 512), 'a write of zeroes', ['EPERM'])
      await mustReject(() => disk.discard(0, 512), 'a discard', ['EPERM'])
      await mustReject(() => disk.truncate(0), 'a truncation', ['EPERM', 'EROFS', 'EACCES'])
      await compareWhole(disk, model, 'afterwards')
    },
  },
  {
    name: 'refuses to be opened read-only',
    needs: ['refuses readOnly'],
    run: async (fixture) => {
      await mustReject(() => fixture.open({ readOnly: true }), 'opening read-only', ['EPERM'])
    },
  },
  refusal('a new size', { needs: ['write'], lacks: ['truncate'] }, (disk) => disk.truncate(disk.size + 512)),
  refusal('to grow', { needs: ['refuses grow'] }, (disk) => disk.truncate(disk.size + 65536)),
  refusal('to shrink', { needs: ['refuses shrink'] }, (disk) => disk.truncate(512, { exact: true })),
  refusal('checks', { needs: ['write'], lacks: ['check'] }, (disk) => disk.check({ repair: 'none' })),
  refusal('amendments', { needs: ['write'], lacks: ['amend'] }, (disk) => disk.amend({ options: {} })),
  refusal('snapshots', { needs: ['write'], lacks: ['snapshots'] }, async (disk) =>
    disk.snapshots.create({ name: 'refused' }),
  ),
  refusal('copies without memory', { needs: ['write'], lacks: ['copyRange'] }, (disk) =>
    disk.edge.copyRange(0, disk.edge, 65536, 4096),
  ),
  {
    name: 'drops a discard where it has none, and keeps the data',
    needs: ['write', 'persistence'],
    lacks: ['discard'],
    run: async (fixture) => {
      const disk = await fixture.open()
      const model = fixture.model(disk)
      await performBatch(disk, model, [{ kind: 'write', offset: 0, data: fixture.random.bytes(100_000), flags: 0 }])
      await disk.discard(0, disk.size)
      await compareWhole(disk, model, 'after a discard')
    },
  },
  {
    name: 'keeps what is discarded while it is told to ignore discards',
    needs: ['write', 'persistence', 'discard'],
    run: async (fixture) => {
      const disk = await fixture.open({ discard: 'ignore' })
      const model = fixture.model(disk)
      await performBatch(disk, model, [{ kind: 'write', offset: 0, data: fixture.random.bytes(100_000), flags: 0 }])
      await disk.discard(0, disk.size)
      await compareWhole(disk, model, 'after a discard')
    },
  },
  {
    name: 'says data of every range where it has no block status',
    lacks: ['blockStatus', 'read-only'],
    run: async (fixture) => {
      const disk = await fixture.open()
      for await (const { offset, data, zero, present } of disk.extents()) {
        must(data && !zero && present, `the extent at ${offset} is not simply data`)
      }
    },
  },
  {
    name: 'gives no information where it has none',
    lacks: ['info', 'read-only'],
    run: async (fixture) => {
      const disk = await fixture.open()
      must(Object.keys(await disk.info()).length === 0, 'there is information')
    },
  },
]
