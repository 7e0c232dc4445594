/** Drives of media that can be taken out. Where this machine has none, devices of the kernel and a stand-in for its calls. */
import { spawnSync } from 'node:child_process'
import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Drives } from '@diskgraph/posix'
import { afterAll, describe, expect, it } from 'vitest'
import { deviceKind } from '../src/device-names.ts'
import { CdromDrive, FloppyDrive } from '../src/drive.ts'
import { hasNative, openImage, pattern, temporaryFolder } from './support.ts'

const folder = temporaryFolder()
const MiB = 1024 * 1024
const devices: string[] = []
afterAll(() => {
  for (const device of devices) spawnSync('losetup', ['--detach', device])
})

/** A block device with sectors of that size; undefined where this process may make none. */
function loopDevice(sectorSize: number): string | undefined {
  const backing = join(folder, `backing-${sectorSize}`)
  writeFileSync(backing, pattern(MiB))
  truncateSync(backing, 8 * MiB)
  const made = spawnSync('losetup', ['--find', '--show', '--sector-size', String(sectorSize), backing], {
    encoding: 'utf8',
  })
  if (!hasNative || made.status !== 0) return undefined
  devices.push(made.stdout.trim())
  return devices.at(-1)
}

for (const sectorSize of [512, 4096]) {
  const device = loopDevice(sectorSize)
  const why = device === undefined ? ' (skipped: no loop device can be had, which takes root)' : ''

  describe.skipIf(device === undefined)(`a device with sectors of ${sectorSize} bytes${why}`, () => {
    for (const driver of ['host_cdrom', 'host_floppy'] as const) {
      it.each([false, true])(`is read by ${driver} (direct: %s)`, async (direct) => {
        const image = await openImage(device as string, { driver, readOnly: true, direct })
        expect(image.size).toBe(8 * MiB)
        expect(image.limits.alignment).toBe(direct ? sectorSize : 1)
        const buf = new Uint8Array(8192)
        await image.read(4096, buf, 0)
        expect(Buffer.compare(buf, pattern(MiB).subarray(4096, 4096 + 8192))).toBe(0)
        await image.close()
      })

      it(`has no tray for ${driver}`, async () => {
        const image = await openImage(device as string, { driver, readOnly: true })
        expect(image.medium.inserted).toBe(true)
        await expect(image.medium.eject(true)).rejects.toMatchObject({ code: 'ENOTSUP' })
        await expect(image.medium.lock(true)).rejects.toMatchObject({ code: 'ENOTSUP' })
        expect(image.medium.locked).toBe(false)
        await image.close()
      })
    }
  })
}

it.each(['host_cdrom', 'host_floppy'] as const)('%s refuses what is no device', async (driver) => {
  const filename = join(folder, 'plain')
  writeFileSync(filename, 'x')
  await expect(openImage(filename, { driver })).rejects.toThrow(
    `'${driver}' driver requires '${filename}' to be either a character or block device`,
  )
})

it('drives are told from other devices by their numbers', async (context) => {
  const [cdrom, floppy] = [join(folder, 'sr0'), join(folder, 'fd0')]
  const made = [spawnSync('mknod', [cdrom, 'b', '11', '0']), spawnSync('mknod', [floppy, 'b', '2', '0'])]
  if (made.some(({ status }) => status !== 0)) return context.skip('devices can be made by root only')
  expect([await deviceKind(cdrom), await deviceKind(floppy)]).toEqual(['host_cdrom', 'host_floppy'])
})

/** A drive that remembers what it was told. */
function standIn(status: 'none' | 'open' | 'unknown' = 'unknown') {
  const orders: string[] = []
  const drives: Drives = {
    discStatus: () => status,
    moveTray: async (_fd, open) => void orders.push(open ? 'open' : 'close'),
    lockTray: (_fd, locked) => void orders.push(locked ? 'lock' : 'unlock'),
    ejectFloppy: async () => void orders.push('eject'),
  }
  const device = { fd: 3, filename: '/dev/sr0', invalidateCache: async () => void orders.push('size') }
  return { drives, device, orders }
}

describe('a drive for compact discs', () => {
  it.each([
    ['none', false],
    ['open', false],
    ['unknown', true],
  ] as const)('with the status %s has a disc: %s', (status, inserted) => {
    const { drives, device } = standIn(status)
    expect(new CdromDrive(drives, device).inserted).toBe(inserted)
  })

  it('opens and closes its tray, asks for the size of what lies in it then, and tells of both', async () => {
    const { drives, device, orders } = standIn()
    const drive = new CdromDrive(drives, device)
    let told = 0
    const end = drive.onChange(() => told++)
    await drive.eject(true)
    await drive.eject(false)
    end()
    await drive.eject(true)
    expect(orders).toEqual(['open', 'close', 'size', 'open'])
    expect(told).toBe(2)
  })

  it('is not opened while it is locked', async () => {
    const { drives, device, orders } = standIn()
    const drive = new CdromDrive(drives, device)
    await drive.lock(true)
    await expect(drive.eject(true)).rejects.toMatchObject({ code: 'EBUSY' })
    await drive.lock(false)
    await drive.eject(true)
    expect(orders).toEqual(['lock', 'unlock', 'open'])
  })
})

it('a drive for floppy disks throws its disk out, and knows of the next one when it is told', async () => {
  const { drives, device, orders } = standIn()
  const drive = new FloppyDrive(drives, device)
  await drive.eject(true)
  expect(drive.inserted).toBe(false)
  await drive.eject(false)
  expect(drive.inserted).toBe(true)
  expect(orders).toEqual(['eject', 'size'])
})
