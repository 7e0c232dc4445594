/**
 * qcow2 over failing storage: at every event that the format raises, its next request fails once or from then on.
 * Whatever the guest is told, what was flushed before stays, and the image has leaks at worst.
 */
import { stat } from 'node:fs/promises'
import { type Disk, Flag, Graph } from '@diskgraph/core'
import { type BlkdebugEvent, blkdebug, type InjectErrorOptions } from '@diskgraph/driver-blkdebug'
import { file } from '@diskgraph/driver-file'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { raw } from '@diskgraph/driver-raw'
import { mustBeAll, peer, runTool, TempFolder } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const cluster = 512
const size = 2 ** 20
const drivers = [file, qcow2, raw, blkdebug]
const qemu = peer('qemu-img', { describe, it })

/** Makes an image with some data and a snapshot in the folder; its clusters are small, so that all tables grow. */
async function makeImage(folder: TempFolder): Promise<string> {
  const filename = folder.file('image')
  await using graph = new Graph({ drivers })
  const storage = { driver: 'file', filename } as const
  await graph.create({ driver: 'qcow2', file: storage, size, clusterSize: cluster, refcountBits: 64 })
  const disk = await graph.add({ driver: 'qcow2', file: storage })
  await disk.write(0, new Uint8Array(20 * cluster).fill(1))
  await disk.snapshots.create({ name: 'first' })
  return filename
}

/** Opens the image with the rules, lets a guest work on it and closes it; returns the codes of all errors on the way. */
async function work(filename: string, injectError: InjectErrorOptions[]): Promise<string[]> {
  const errors: string[] = []
  const attempt = (request: Promise<unknown>): Promise<unknown> =>
    request.catch((error: { code: string }) => errors.push(error.code))
  const graph = new Graph({ drivers })
  const image = { driver: 'file', filename } as const
  const opening = graph.add({ driver: 'qcow2', discard: 'unmap', file: { driver: 'blkdebug', image, injectError } })
  await attempt(opening.then((disk) => useDisk(disk, attempt)))
  await attempt(graph.close())
  return errors
}

/** New clusters, shared ones, zeroes, compressed data, discards, and flushes between. */
async function useDisk(disk: Disk, attempt: (request: Promise<unknown>) => Promise<unknown>): Promise<void> {
  await attempt(disk.write(100, new Uint8Array(1000).fill(2)))
  await attempt(disk.write(40_000, new Uint8Array(30_000).fill(2)))
  await attempt(disk.flush())
  await attempt(disk.writeZeroes(4 * cluster, 3 * cluster, Flag.MayUnmap))
  await attempt(disk.write(200 * cluster, new Uint8Array(cluster).fill(2), Flag.Compressed))
  await attempt(disk.discard(8 * cluster, 4 * cluster))
  await attempt(disk.read(0, new Uint8Array(size)))
  await attempt(disk.write(900_000, new Uint8Array(50_000).fill(2)))
  await attempt(disk.flush())
}

const events: BlkdebugEvent[] = [
  'l1_update',
  'l2_load',
  'l2_update',
  'l2_update_compressed',
  'cluster_alloc_space',
  'l2_alloc_write',
  'read_aio',
  'read_compressed',
  'write_aio',
  'write_compressed',
  'cow_read',
  'cow_write',
  'refblock_load',
  'refblock_update_part',
  'refblock_alloc',
  'refblock_alloc_hookup',
  'refblock_alloc_write',
  'cluster_alloc',
  'cluster_alloc_bytes',
  'cluster_free',
  'flush_to_os',
  'flush_to_disk',
  'pwritev',
  'pwritev_done',
]

qemu.describe('qcow2 whose storage fails', () => {
  for (const event of events) {
    it(`at ${event} keeps what was flushed, and leaks at worst`, async () => {
      for (const errno of ['EIO', 'ENOSPC'] as const) {
        for (const once of [true, false]) {
          await using folder = await TempFolder.make()
          const filename = await makeImage(folder)
          const errors = await work(filename, [{ event, errno, once, immediately: once }])
          expect(
            errors.every((code) => code === errno || code === 'EIO'),
            `${errors}`,
          ).toBe(true)
          await judge(filename, `${event} ${errno} ${once ? 'once' : 'for good'}, errors ${errors}`)
        }
      }
    })
  }
})

async function judge(filename: string, what: string): Promise<void> {
  await using graph = new Graph({ drivers, onWarning: () => undefined })
  const disk = await graph.add({ driver: 'qcow2', file: { driver: 'file', filename } })
  const { corruptions, checkErrors } = await disk.check({ repair: 'none' })
  expect({ corruptions, checkErrors }, what).toEqual({ corruptions: 0, checkErrors: 0 })
  await disk.snapshots.apply('first')
  const buf = new Uint8Array(20 * cluster)
  await disk.read(0, buf)
  mustBeAll(buf, 1, what)
  await disk.close()
  const { status, stdout } = await runTool('qemu-img', ['check', '-f', 'qcow2', filename])
  expect([0, 3], `${what}\n${stdout}`).toContain(status)
  expect((await stat(filename)).size).toBeLessThan(4 * size)
}
