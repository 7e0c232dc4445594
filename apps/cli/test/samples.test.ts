/**
 * Images that other software wrote. They are no part of this project: DISKGRAPH_SAMPLES names a folder with them, each
 * packed as `NAME.xz` or `NAME.bz2`, there or in its folder `more`. Of each the whole disk is compared by its sum.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Disk, Graph } from '@diskgraph/core'
import { afterAll, describe, expect, test } from 'vitest'
import { drivers } from '../src/driver-table.ts'

const { DISKGRAPH_SAMPLES: samples } = process.env
const folder = mkdtempSync(join(tmpdir(), 'samples-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

type Sample = readonly [name: string, format: string, size: number, sha256: string]

const vmdkDisk = 'a3bcf05f07a1c06a3380eeca8571f0efb2b85afafa1e21662b8cad436d1f7727'
const dmgDisk = '1407509ff44696aab011815d84951ad2c53cb7345a71d9803b73817c2d2d83cf'
const parallelsDisk = '15faf41ebc93b5f734341cb7a2d909001e3f7306960f9d8bc63894f2a8e5bc45'

/** The sums are those of the disks as the real tools read them, and, of DMG images in other compressions, of the same disk. */
const whole: readonly Sample[] = [
  ['monolithicSparse.vmdk', 'vmdk', 10485760, vmdkDisk],
  ['streamOptimized.vmdk', 'vmdk', 10485760, vmdkDisk],
  ['twoGbMaxExtentSparse.vmdk', 'vmdk', 10485760, vmdkDisk],
  [
    'streamOptimizedWithMarkers.vmdk',
    'vmdk',
    1048576,
    '92c0f8b4280377437056f57c51ef51a5f8aeb1462ac630ef0633febcbfc3db4e',
  ],
  ['vmfs_thick.vmdk', 'vmdk', 2097152, '8d43c795d24bce01b49f92744f934c1072210dcac170bb1c83a5aa56df46ab7d'],
  ['vhdx-log-replay.vhdx', 'vhdx', 1073741824, '3ba3b309425b7ff5e8e0199edceed95226250f880c53b24e8eae93865f3fad5e'],
  ['btrfs.vhdx', 'vhdx', 1073741824, '0b959f9cb4e18348ad8b646f152178282542c8304f02fddf765e3fd1a1de6864'],
  ['iotest-dynamic-1G.vhdx', 'vhdx', 1073741824, 'd3d112d8dab7fd360609f7d5a7b769904b7a2a7d7b6b8c535f65a23293c05478'],
  ['input_ro.dmg', 'dmg', 10510336, dmgDisk],
  ['input_zlib.dmg', 'dmg', 10510336, dmgDisk],
  ['input_adc.dmg', 'dmg', 10510336, dmgDisk],
  ['input_bzip2.dmg', 'dmg', 10510336, dmgDisk],
  ['input_lzma.dmg', 'dmg', 10510336, dmgDisk],
  [
    'input_non_null_data_offset.dmg',
    'dmg',
    3871744,
    '3dabc11a062d044ff75043e6bddeea3821a2fdb9132d3b89d31ecb83bbaf6e7d',
  ],
  ['simple-dmg.dmg', 'dmg', 1799168, '20647e0a98a830a6a250b91e0e6d7200a872caea07b87a3c19611f3dd031c9df'],
  ['benali.vdi', 'vdi', 1474560, '4c17e283f3a84d4b0584a580cd1a9706e7e2a7edeaba643f387df4b4761d4460'],
  ['sk.qcow', 'qcow', 102400, '854c3db1c4a07a241e2ed9fbd8892adf2adc662c7862a75deed26f3483f414c9'],
  ['prog.qed', 'qed', 4258816, 'd4c6f984d04198ed971b02511c0aae83cd4c501748aa50d5238b2b8925a0dcda'],
  ['empty.bochs', 'bochs', 1032192, '85e614bc2ef17bec493b849dbeea34687ba52d7b1fedc4e5fc3729b0fb059aad'],
  ['simple-pattern.cloop', 'cloop', 1048576, '7c77af2771e0f86b7ec9707374c7416037fedae45cb0e6e27fbdf55688a5dd12'],
  ['parallels-v1', 'parallels', 2097152, parallelsDisk],
  ['parallels-v2', 'parallels', 2097152, parallelsDisk],
]

/** Of these the format is not found by probing, or the disk is too large to be read within a test. */
const opened: readonly (readonly [name: string, format: string, size: number])[] = [
  ['srfixed.vhd', 'vpc', 1079296],
  ['virtualpc-dynamic.vhd', 'vpc', 136363130880],
  ['swap.vhdx', 'vhdx', 10737418240],
  ['iotest-dirtylog-10G-4M.vhdx', 'vhdx', 10737418240],
  ['iotest-version3.vmdk', 'vmdk', 17179869184],
]

/** Other files that belong to a sample. */
const companions: Readonly<Record<string, string>> = {
  'twoGbMaxExtentSparse.vmdk': 'twoGbMaxExtentSparse-s001.vmdk',
  'vmfs_thick.vmdk': 'vmfs_thick-flat.vmdk',
}

/** Unpacks a sample; where its file is then. */
function unpacked(name: string): string {
  const path = join(folder, name)
  if (existsSync(path)) return path
  const packed = ['', 'more']
    .flatMap((part) => ['xz', 'bz2'].map((ending) => join(samples ?? '', part, `${name}.${ending}`)))
    .find(existsSync)
  if (packed === undefined) throw new Error(`there is no '${name}' in ${samples}`)
  const tool = packed.endsWith('.xz') ? 'xz' : 'bzip2'
  const { status, stderr } = spawnSync(tool, ['-dkc', packed], { stdio: ['ignore', openSync(path, 'w'), 'pipe'] })
  expect(`${status} ${stderr}`).toBe('0 ')
  return path
}

async function withSample(name: string, format: string | undefined, work: (disk: Disk) => Promise<void>) {
  const companion = companions[name]
  if (companion !== undefined) unpacked(companion)
  await using graph = new Graph({ drivers, onWarning: () => undefined })
  await work(await graph.open(unpacked(name), { readOnly: true, ...(format === undefined ? {} : { format }) }))
}

async function sumOf(disk: Disk): Promise<string> {
  const hash = createHash('sha256')
  for (let offset = 0; offset < disk.size; offset += 2 ** 22) {
    const buf = new Uint8Array(Math.min(2 ** 22, disk.size - offset))
    await disk.read(offset, buf)
    hash.update(buf)
  }
  return hash.digest('hex')
}

describe.skipIf(samples === undefined)('an image that other software wrote (needs DISKGRAPH_SAMPLES)', () => {
  test.each(whole)('shows the disk that was put in: %s', async (name, format, size, sha256) => {
    await withSample(name, undefined, async (disk) => {
      expect([disk.node.driver.name, disk.size]).toEqual([format, size])
      expect(await sumOf(disk)).toBe(sha256)
    })
  })

  test.each(opened)('has its size, and can be read at both ends: %s', async (name, format, size) => {
    await withSample(name, format, async (disk) => {
      expect(disk.size).toBe(size)
      await disk.read(0, new Uint8Array(65536))
      await disk.read(size - 65536, new Uint8Array(65536))
    })
  })

  test('says what is not read: an encrypted image, and chunks of LZFSE', async () => {
    await expect(withSample('input_aes256.dmg', undefined, async () => {})).rejects.toThrow('the image is encrypted')
    await withSample('input_lzfse.dmg', undefined, async (disk) => {
      await expect(disk.read(0, new Uint8Array(512))).rejects.toThrow("kind 'lzfse'")
    })
  })

  test('is read with its passphrase: LUKS of cryptsetup', async () => {
    await using graph = new Graph({ drivers, secrets: { key: 'compatkey' }, onWarning: () => undefined })
    const file = { driver: 'file', filename: unpacked('compatimage.img') }
    const disk = await graph.addUnchecked({ driver: 'luks', keySecret: 'key', readOnly: true, file })
    expect(disk.size).toBe(9711616)
    await disk.read(0, new Uint8Array(65536))
  })
})
