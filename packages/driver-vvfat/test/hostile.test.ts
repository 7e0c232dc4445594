/** Directories that are none of FAT's kind. */
import { execFileSync } from 'node:child_process'
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { peer } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { fill, partition, run, show, temporaryFolder, volumeFile } from './support.ts'

const folder = temporaryFolder()
const mtools = peer('mcopy', { describe, it })
const check = peer('fsck.fat', { describe, it })

it.each([
  [{}, "vvfat block driver requires a 'dir' option"],
  [{ dir: '/nowhere/at/all' }, 'Could not read directory /nowhere/at/all: No such file or directory'],
  [{ dir: folder, fatType: 13 }, 'Valid FAT types are only 12, 16 and 32'],
  [{ dir: folder, label: 'twelve bytes' }, 'vvfat label cannot be longer than 11 bytes'],
])('%o is refused', async (options, message) => {
  await expect(show(options)).rejects.toThrow(message)
})

it('is refused where it does not fit', async () => {
  const dir = fill(join(folder, 'large'), { a: '' })
  truncateSync(join(dir, 'a'), 600 * 2 ** 20)
  await expect(show({ dir })).rejects.toThrow('Directory does not fit in FAT16 (capacity 516.06 MB)')
  await expect(show({ dir, floppy: true })).rejects.toThrow('Directory does not fit in FAT12 (capacity 2.88 MB)')
  truncateSync(join(dir, 'a'), 2 ** 32)
  await expect(show({ dir, fatType: 32 })).rejects.toMatchObject({ code: 'EFBIG' })
})

it('leaves out what is no file, and links that lead outside', async () => {
  const dir = fill(join(folder, 'odd'), { file: 'inside', 'sub/x': 'x' })
  execFileSync('mkfifo', [join(dir, 'fifo')])
  const server = createServer().listen(join(dir, 'socket'))
  await new Promise((resolve) => server.once('listening', resolve))
  symlinkSync('/etc/passwd', join(dir, 'outside'))
  symlinkSync('..', join(dir, 'sub', 'loop'))
  symlinkSync('self', join(dir, 'self'))
  symlinkSync('file', join(dir, 'inside'))
  const image = join(folder, 'odd.img')
  try {
    await using shown = await show({ dir, floppy: true })
    expect(shown.warnings).toEqual([expect.stringContaining('5 that are no readable files or directories')])
    await volumeFile({ dir, floppy: true }, image)
  } finally {
    server.close()
  }
  const raw = readFileSync(image)
  expect(raw.includes('root:')).toBe(false)
  expect(raw.includes('INSIDE     ')).toBe(true)
})

mtools.it('gives names that FAT does not know similar ones, each of its own', async () => {
  const names = [
    'a:b',
    'a?b',
    'a_b',
    'A_B',
    'end.',
    'end ',
    '...',
    'tab\there',
    `${'n'.repeat(254)}`,
    'back\\slash',
    'x'.repeat(83).concat('é'.repeat(80)),
  ]
  const dir = fill(join(folder, 'names'), Object.fromEntries(names.map((name) => [name, name])))
  const image = await volumeFile({ dir, floppy: true }, join(folder, 'names.img'))
  const out = fill(join(folder, 'names-out'), {})
  await run('mcopy', '-s', '-i', image, '::/*', out)
  const contents = readdirSync(out).map((name) => readFileSync(join(out, name), 'utf8'))
  expect(contents.sort()).toEqual([...names].sort())
})

check.it('shows ten thousand files, in one directory of FAT16 too', async () => {
  const dir = fill(join(folder, 'many'), {})
  for (let i = 0; i < 10_000; i++)
    writeFileSync(join(dir, `a file of many, number ${i}.txt`), i % 100 === 0 ? `${i}` : '')
  for (const fatType of [16, 32]) {
    const image = await volumeFile({ dir, fatType }, join(folder, 'many.img'))
    expect(await run('fsck.fat', '-n', image)).toContain('1000')
    rmSync(image)
  }
})

describe('a file that changes while it is shown', () => {
  const dir = fill(join(folder, 'changing'), { 'a.bin': 'A'.repeat(9000), other: 'secret' })
  const at = partition + 512 + 2 * 252 * 512 + 512 * 32
  const read = async (change: () => void): Promise<string> => {
    writeFileSync(join(dir, 'a.bin'), 'A'.repeat(9000))
    await using shown = await show({ dir })
    change()
    const buf = new Uint8Array(9216)
    await shown.disk.read(at, buf)
    return Buffer.from(buf).toString('latin1').replace(/\0+$/, '')
  }

  it('reads as zeroes where it ends sooner', async () => {
    expect(await read(() => truncateSync(join(dir, 'a.bin'), 100))).toBe('A'.repeat(100))
  })

  it('is no longer than it was', async () => {
    const longer = await read(() => writeFileSync(join(dir, 'a.bin'), 'B'.repeat(9100)))
    expect(longer).toBe('B'.repeat(9000))
  })

  it.each([
    ['replaced by another one', () => renameSync(join(dir, 'other'), join(dir, 'a.bin'))],
    ['removed', () => rmSync(join(dir, 'a.bin'))],
    [
      'a link elsewhere',
      () => {
        rmSync(join(dir, 'a.bin'))
        symlinkSync('/etc/passwd', join(dir, 'a.bin'))
      },
    ],
  ])('cannot be read when it was %s', async (_what, change) => {
    rmSync(join(dir, 'a.bin'), { force: true })
    await expect(read(change)).rejects.toThrow("cannot read 'a.bin'")
    rmSync(join(dir, 'a.bin'), { force: true })
  })

  it('cannot be read through a link in place of its directory', async () => {
    const top = fill(join(folder, 'moved'), { 'sub/f': 'mine' })
    const away = fill(join(folder, 'away'), { f: 'else' })
    await using shown = await show({ dir: top })
    renameSync(join(top, 'sub'), join(top, 'old'))
    symlinkSync(away, join(top, 'sub'))
    await expect(shown.disk.read(at + 8192, new Uint8Array(512))).rejects.toThrow("cannot read 'sub/f'")
  })

  it('is seen anew when the node is opened again', async () => {
    const top = fill(join(folder, 'anew'), { f: 'before' })
    for (const text of ['before', 'after it']) {
      mkdirSync(top, { recursive: true })
      writeFileSync(join(top, 'f'), text)
      await using shown = await show({ dir: top })
      const buf = new Uint8Array(512)
      await shown.disk.read(at, buf)
      expect(Buffer.from(buf).toString().replace(/\0+$/, '')).toBe(text)
    }
  })
})
