import type { Disk, Extent } from '@diskgraph/core'
import { Flag } from '@diskgraph/core/driver'
import { must, mustBeAll, mustEqual } from '../assertions.ts'
import { performBatch } from '../exercise.ts'
import { OperationGenerator } from '../operations.ts'
import type { Case, Fixture } from './fixture.ts'

/** Checks all that the extents of a disk claim against what it reads as. */
export async function checkExtents(disk: Disk, offset = 0, length: number = disk.size): Promise<Extent[]> {
  const extents: Extent[] = []
  let at = offset
  for await (const extent of disk.extents({ offset, length })) {
    must(extent.offset === at && extent.length > 0, `an extent of ${extent.length} at ${extent.offset}, not at ${at}`)
    at += extent.length
    extents.push(extent)
    await checkExtent(disk, extent)
  }
  must(at === Math.min(disk.size, offset + length), `the extents end at ${at} instead of ${disk.size}`)
  return extents
}

async function checkExtent(disk: Disk, extent: Extent): Promise<void> {
  const { length, hostOffset, file } = extent
  const buf = new Uint8Array(Math.min(length, 2 ** 22)).fill(0x77)
  await disk.read(extent.offset, buf)
  if (extent.zero) mustBeAll(buf, 0, `the zero extent at ${extent.offset}`)
  if (!extent.data) mustBeAll(buf, 0, `the extent without data at ${extent.offset}`)
  if (extent.data && hostOffset !== undefined && file !== undefined) {
    const host = new Uint8Array(buf.length)
    await file.read(hostOffset, host)
    mustEqual(host, buf, `the host data of the extent at ${extent.offset}`)
  }
}

async function scatter(fixture: Fixture, disk: Disk): Promise<void> {
  const model = fixture.model(disk)
  const { writeZeroes, discard } = disk.node.image
  const generator = new OperationGenerator(
    {
      size: disk.size,
      weights: { write: 3, ...(writeZeroes ? { zeroes: 1 } : {}), ...(discard ? { discard: 1 } : {}) },
      zeroFlags: [Flag.MayUnmap],
    },
    fixture.random.fork(),
  )
  for (let i = 0; i < 30; i++) await performBatch(disk, model, [generator.next()])
}

/** Throws unless JSON keeps all of `value`: text, finite numbers, truth values, and lists and plain objects of them. */
function mustBePlain(value: unknown, where: string): void {
  if (value === undefined || typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value)) return
  must(typeof value === 'object' && value !== null, `${where} is ${String(value)}, which cannot be shown`)
  if (!Array.isArray(value)) {
    const prototype: unknown = Object.getPrototypeOf(value)
    must(prototype === null || prototype === Object.prototype, `${where} is no plain object`)
  }
  for (const [key, inner] of Object.entries(value)) mustBePlain(inner, `${where}.${key}`)
}

/** What block status and information promise. */
export const statusCases: readonly Case[] = [
  {
    name: 'tells the truth about a new disk: every byte has a status, and zeroes are zero',
    run: async (fixture) => {
      await checkExtents(await fixture.open())
    },
  },
  {
    name: 'tells the truth about a disk that was written to, from any offset on',
    needs: ['write', 'persistence'],
    run: async (fixture) => {
      const disk = await fixture.open()
      await scatter(fixture, disk)
      await checkExtents(disk)
      for (let i = 0; i < 20; i++) {
        const offset = fixture.random.below(disk.size)
        await checkExtents(disk, offset, fixture.random.between(1, disk.size - offset))
      }
    },
  },
  {
    name: 'says data of a range that holds some',
    needs: ['write', 'persistence'],
    run: async (fixture) => {
      const disk = await fixture.open()
      await disk.write(65536, new Uint8Array(65536).fill(1))
      for (const extent of await checkExtents(disk, 65536, 65536)) {
        must(extent.data && !extent.zero && extent.present, `at ${extent.offset}: no data, though some was written`)
      }
    },
  },
  {
    name: 'gives information that can be shown',
    needs: ['info'],
    run: async (fixture) => {
      const disk = await fixture.open()
      const info = await disk.info()
      mustBePlain(info, 'info')
      const { clusterSize, allocatedSize } = info
      must(clusterSize === undefined || clusterSize >= 512, `the cluster size is ${clusterSize}`)
      must(allocatedSize === undefined || allocatedSize >= 0, `the allocated size is ${allocatedSize}`)
    },
  },
]
