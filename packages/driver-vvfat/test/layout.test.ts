/** What the disk holds, by what QEMU shows of the same directory and by what other programs of FAT say of it. */
import { readFileSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { peer } from '@diskgraph/driver-testkit'
import type { VvfatOptions } from '@diskgraph/driver-vvfat'
import { describe, expect, it } from 'vitest'
import { bytesOf, fill, partition, run, show, temporaryFolder, volumeFile } from './support.ts'

const folder = temporaryFolder()
const large = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7) % 256)
const files = {
  'FILE.TXT': 'short\n',
  'hello.txt': 'hello\n',
  'A long file name.text': 'first',
  'A long file name.texx': 'second',
  'two.dots.txt': '2',
  'ünïcode 文字.txt': 'wide',
  '.hidden': 'h',
  'plus+sign': '+',
  empty: '',
  'sub/data.bin': large,
  'sub/deep/er/x': 'x',
  'sub/nothing/': '',
}
const dir = fill(join(folder, 'dir'), files)
utimesSync(join(dir, 'hello.txt'), new Date(2020, 4, 17, 13, 45, 32), new Date(2020, 4, 17, 13, 45, 32))

const kinds: readonly (VvfatOptions & { readonly name: string })[] = [
  { name: 'fat' },
  { name: 'fat:12', fatType: 12 },
  { name: 'fat:floppy', floppy: true },
  { name: 'fat:floppy:12', floppy: true, fatType: 12 },
]
const all = [
  ...kinds,
  { name: 'fat:floppy:16', floppy: true, fatType: 16 },
  { name: 'fat:32', fatType: 32 },
  { name: 'fat:floppy:32', floppy: true, fatType: 32 },
]
const convert = peer('qemu-img', { describe, it })
const mtools = peer('mcopy', { describe, it })
const check = peer('fsck.fat', { describe, it })

convert.describe.each(kinds)('$name', ({ name, ...options }) => {
  it('has the size, the table of partitions and the boot sector that QEMU shows', async () => {
    const theirs = join(folder, 'theirs')
    await run('qemu-img', 'convert', '-O', 'raw', `${name}:${dir}`, theirs)
    const expected = readFileSync(theirs)
    await using shown = await show({ ...options, dir })
    const ours = await bytesOf(shown.disk)
    expect(ours.length).toBe(expected.length)
    const header = options.floppy === true ? 512 : partition + 512
    expect(Buffer.compare(ours.subarray(0, header), expected.subarray(0, header))).toBe(0)
    const label = expected.indexOf('QEMU VVFAT (')
    expect(Buffer.from(ours).indexOf('QEMU VVFAT (')).toBe(label)
  })
})

describe.each(all)('the volume of $name', ({ name, ...options }) => {
  const image = join(folder, name.replaceAll(':', '-'))

  check.it('is without fault for fsck.fat', async () => {
    await volumeFile({ ...options, dir }, image)
    expect(await run('fsck.fat', '-n', image)).toMatch(/: 1[0-9] files, /)
  })

  mtools.it('gives mtools the files that the host has', async () => {
    await volumeFile({ ...options, dir }, image)
    const out = fill(join(folder, `${name.replaceAll(':', '-')}-out`), {})
    await run('mcopy', '-s', '-m', '-i', image, '::/*', out)
    expect(await run('diff', '-r', dir, out)).toBe('')
  })

  mtools.it('tells mtools the time of a file, as the clocks of this place show it', async () => {
    await volumeFile({ ...options, dir }, image)
    expect(await run('mdir', '-i', image, '::/hello.txt')).toMatch(/HELLO +TXT +6 2020-05-17 +13:45 +hello\.txt/)
  })
})

mtools.it('shows the label that was asked for', async () => {
  const image = await volumeFile({ dir, floppy: true, label: 'MY DISK' }, join(folder, 'label'))
  expect(await run('mlabel', '-s', '-i', image, '::')).toContain('MY DISK')
})

check.it('FAT32 grows with what it has to hold, and free space counts', async () => {
  const big = fill(join(folder, 'big'), {})
  await run('truncate', '-s', '2G', join(big, 'a'))
  await run('truncate', '-s', '100', join(big, 'b'))
  await using shown = await show({ dir: big, fatType: 32 })
  expect(shown.disk.size).toBeGreaterThan(2 * 2 ** 30)
  const extent = await shown.disk.status(shown.disk.size - 512, 512)
  expect(extent).toMatchObject({ zero: true })
  const boot = new Uint8Array(512)
  await shown.disk.read(partition, boot)
  const view = new DataView(boot.buffer)
  const clusters = Math.floor((view.getUint32(32, true) - 32 - 2 * view.getUint32(36, true)) / view.getUint8(13))
  const info = new Uint8Array(512)
  await shown.disk.read(partition + 512, info)
  const clusterBytes = 512 * view.getUint8(13)
  const used = Math.ceil(2 ** 31 / clusterBytes) + 2
  expect(new DataView(info.buffer).getUint32(488, true)).toBe(clusters - used)
})
