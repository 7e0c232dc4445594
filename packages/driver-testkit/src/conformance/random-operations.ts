import type { Disk } from '@diskgraph/core'
import { Flag } from '@diskgraph/core/driver'
import { must } from '../assertions.ts'
import { compareWhole, performBatch } from '../exercise.ts'
import { OperationGenerator } from '../operations.ts'
import type { Case, Fixture } from './fixture.ts'
import { checkExtents } from './status.ts'

/** A generator of operations that suit the disk. */
function generatorFor(fixture: Fixture, disk: Disk): OperationGenerator {
  const { writeZeroes, discard } = disk.node.image
  return new OperationGenerator(
    {
      size: disk.size,
      weights: {
        read: 3,
        write: 5,
        flush: 0.3,
        ...(writeZeroes === undefined ? { zeroes: 0.3 } : { zeroes: 1 }),
        ...(discard === undefined ? {} : { discard: 1 }),
      },
      writeFlags: [Flag.Fua],
      zeroFlags: [Flag.MayUnmap],
    },
    fixture.random.fork(),
  )
}

/** Fails if the image finds fault with itself. */
export async function checkImage(disk: Disk): Promise<void> {
  if (disk.node.image.check === undefined) return
  const found: string[] = []
  const result = await disk.check({ repair: 'none', onFinding: (kind, text) => found.push(`${kind}: ${text}`) })
  const { checkErrors, corruptions, leaks } = result
  must(
    checkErrors + corruptions + leaks === 0,
    `check finds ${corruptions} corruptions, ${leaks} leaks, ${checkErrors} errors:\n  ${found.slice(0, 10).join('\n  ')}`,
  )
}

async function compareWithModel(fixture: Fixture, atOnce: number, jitter: boolean): Promise<void> {
  if (jitter) fixture.faults.jitter = fixture.random.fork()
  let disk = await fixture.open()
  const model = fixture.model(disk)
  const generator = generatorFor(fixture, disk)
  const operations = fixture.settings.operations ?? 300
  for (let i = 0; i < operations; ) {
    const batch = generator.batch(atOnce)
    i += batch.length
    await performBatch(disk, model, batch)
    if (fixture.random.chance(0.03)) {
      await disk.close()
      disk = await fixture.open()
    }
  }
  await compareWhole(disk, model, 'at the end')
  await checkExtents(disk)
  await checkImage(disk)
  await disk.close()
  disk = await fixture.open()
  await compareWhole(disk, model, 'after the end')
  await checkImage(disk)
}

/** Random operations against the reference model. */
export const randomOperationCases: readonly Case[] = [
  {
    name: 'agrees with the reference model over random operations, one after the other',
    needs: ['write', 'persistence'],
    run: (fixture) => compareWithModel(fixture, 1, false),
  },
  {
    name: 'agrees with the reference model over random operations, several at once, over a storage that reorders them',
    needs: ['write', 'persistence'],
    run: (fixture) => compareWithModel(fixture, 10, true),
  },
  {
    name: 'agrees with the reference model over a storage with blocks of 4 KiB',
    needs: ['write', 'persistence', 'file'],
    blocks: 4096,
    run: (fixture) => compareWithModel(fixture, 4, true),
  },
]
