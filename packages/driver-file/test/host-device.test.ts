import { spawnSync } from 'node:child_process'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Flag } from '@diskgraph/core'
import { afterAll, describe, expect, it } from 'vitest'
import { deviceKind } from '../src/device-names.ts'
import { createImage, hasNative, openImage, pattern, temporaryFolder } from './support.ts'

const folder = temporaryFolder()
const backing = join(folder, 'backing')
const MiB = 1024 * 1024
writeFileSync(backing, '')
truncateSync(backing, 8 * MiB)
const attached = hasNative ? spawnSync('losetup', ['--find', '--show', backing], { encoding: 'utf8' }) : undefined
const device = attached?.status === 0 ? attached.stdout.trim() : undefined
afterAll(() => {
  if (device !== undefined) spawnSync('losetup', ['--detach', device])
})

describe.skipIf(device === undefined)('a block device', () => {
  const name = device as string

  it('is refused by the file driver, with a hint at the right one', async () => {
    await expect(openImage(name)).rejects.toMatchObject({
      message: `'file' driver requires '${name}' to be a regular file`,
      hint: "open block devices with driver 'host_device'",
    })
  })

  it.each([false, true])('reads and writes (direct: %s)', async (direct) => {
    const image = await openImage(name, { driver: 'host_device', direct })
    expect(image.size).toBe(8 * MiB)
    expect(image.zeroInit).toBe(false)
    await image.write(MiB, pattern(65_536), 0)
    await image.flush()
    const buf = new Uint8Array(65_536)
    await image.read(MiB, buf, 0)
    expect(Buffer.compare(buf, pattern(65_536))).toBe(0)
    await image.close()
    expect(Buffer.compare(readFileSync(name).subarray(MiB, MiB + 65_536), pattern(65_536))).toBe(0)
  })

  it('makes zeroes and discards in whole blocks', async () => {
    const image = await openImage(name, { driver: 'host_device' })
    expect(image.limits.writeZeroesAlignment).toBe(512)
    const buf = new Uint8Array(1024)
    for (const flags of [0, Flag.MayUnmap]) {
      await image.write(0, pattern(4096), 0)
      await image.writeZeroes?.(512, 512, flags)
      await image.read(0, buf, 0)
      expect(buf).toEqual(Uint8Array.from([...pattern(512), ...new Uint8Array(512)]))
    }
    await expect(image.writeZeroes?.(0, 512, Flag.NoFallback)).rejects.toMatchObject({ code: 'ENOTSUP' })
    await image.discard?.(0, MiB)
    expect(await image.blockStatus(0, MiB)).toMatchObject({ data: true, length: MiB })
    await image.close()
  })

  it('cannot be resized', async () => {
    const image = await openImage(name, { driver: 'host_device' })
    await expect(image.truncate(9 * MiB, {})).rejects.toMatchObject({ message: 'Cannot grow device files' })
    await expect(image.truncate(MiB, { exact: true })).rejects.toMatchObject({ message: 'Cannot resize device files' })
    await image.truncate(MiB, {})
    expect(image.size).toBe(8 * MiB)
    await image.close()
  })

  it('takes a new image when it is large enough', async () => {
    writeFileSync(name, pattern(1024))
    await expect(createImage({ filename: name, size: 9 * MiB }, { driver: 'host_device' })).rejects.toMatchObject({
      message: 'Cannot grow device files',
    })
    await createImage({ filename: name, size: MiB }, { driver: 'host_device' })
    const start = readFileSync(name).subarray(0, 1024)
    expect(start.subarray(0, 512).every((byte) => byte === 0)).toBe(true)
    expect(Buffer.compare(start.subarray(512), pattern(1024).subarray(512))).toBe(0)
  })
})

it('files and missing names are no devices', async () => {
  if (device !== undefined) expect(await deviceKind(device)).toBe('host_device')
  expect(await deviceKind('/dev/null')).toBe('host_device')
  expect(await deviceKind(backing)).toBeUndefined()
  expect(await deviceKind(join(folder, 'missing'))).toBeUndefined()
})
