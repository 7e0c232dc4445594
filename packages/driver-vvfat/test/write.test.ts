/** What a guest writes, by what the host then has. Guests are mtools; see `guest.ts`. */
import { chmodSync, existsSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { peer } from '@diskgraph/driver-testkit'
import type { VvfatOptions } from '@diskgraph/driver-vvfat'
import { describe, expect, it } from 'vitest'
import { Guest, holdings } from './guest.ts'
import { fill, partition, type Shown, show, temporaryFolder } from './support.ts'

const folder = temporaryFolder()
const mtools = peer('mcopy', { describe, it })
let count = 0

const pattern = (length: number, seed: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + seed + (i >> 9)) % 256)

interface Run extends AsyncDisposable {
  readonly dir: string
  readonly shown: Shown
  readonly guest: Guest
}

async function start(
  files: Readonly<Record<string, string | Uint8Array>>,
  options: VvfatOptions = { floppy: true },
): Promise<Run> {
  const dir = fill(join(folder, `dir-${++count}`), files)
  const shown = await show({ readOnly: false, rw: true, ...options, dir })
  const guest = new Guest(shown.disk, join(folder, 'copy'), options.floppy === true ? 0 : partition)
  return { dir, shown, guest, [Symbol.asyncDispose]: () => shown[Symbol.asyncDispose]() }
}

function source(content: string | Uint8Array): string {
  const path = join(folder, `source-${++count}`)
  writeFileSync(path, content)
  return path
}

const kinds: readonly VvfatOptions[] = [{ floppy: true }, { floppy: true, fatType: 16 }, { fatType: 12 }]

mtools.describe.each(kinds)('%o', (options) => {
  it('creates, changes, renames, moves and deletes as the guest does', async () => {
    await using run = await start(
      {
        'keep.txt': 'kept',
        'change.bin': pattern(50_000, 1),
        'Old name here.txt': 'renamed',
        'gone.txt': 'gone',
        'sub/move.bin': pattern(20_000, 2),
        'sub/inner/x': 'x',
        'bare/leaf': 'leaf',
      },
      options,
    )
    const kept = statSync(join(run.dir, 'keep.txt')).ino
    const moved = statSync(join(run.dir, 'sub/move.bin')).ino
    const changed = pattern(70_000, 3)
    await run.guest.do(
      ['mcopy', source('made'), '::/A new file of the guest.txt'],
      ['mcopy', '-o', source(changed), '::/change.bin'],
      ['mren', '::/Old name here.txt', '::/New name here.txt'],
      ['mdel', '::/gone.txt'],
      ['mmd', '::/made'],
      ['mmove', '::/sub/move.bin', '::/made'],
      ['mdeltree', '::/bare'],
      ['mren', '::/sub/inner', '::/sub/outer'],
    )
    expect(holdings(run.dir)).toEqual({
      'A new file of the guest.txt': 'made',
      'New name here.txt': 'renamed',
      'change.bin': Buffer.from(changed).toString('latin1'),
      'keep.txt': 'kept',
      made: '/',
      'made/move.bin': Buffer.from(pattern(20_000, 2)).toString('latin1'),
      sub: '/',
      'sub/outer': '/',
      'sub/outer/x': 'x',
    })
    expect(statSync(join(run.dir, 'keep.txt')).ino).toBe(kept)
    expect(statSync(join(run.dir, 'made/move.bin')).ino).toBe(moved)
    expect(await run.guest.check()).toContain('files')
    // And all of it again, from where that left it.
    await run.guest.do(
      ['mdel', '::/keep.txt'],
      ['mren', '::/change.bin', '::/keep.txt'],
      ['mcopy', source('second'), '::/made/second'],
    )
    expect(readFileSync(join(run.dir, 'keep.txt'))).toEqual(Buffer.from(changed))
    expect(readFileSync(join(run.dir, 'made/second'), 'latin1')).toBe('second')
    expect(existsSync(join(run.dir, 'change.bin'))).toBe(false)
    await run.guest.check()
  })
})

mtools.it(
  'what was written is seen by the guest, before and after it has been brought into the directory',
  async () => {
    await using run = await start({ a: 'first', b: pattern(9000, 1) })
    await run.guest.write(['mcopy', source(pattern(30_000, 5)), '::/new'], ['mdel', '::/a'])
    // Boot sector, FATs and root directory.
    const [before, after] = [new Uint8Array(37 * 512), new Uint8Array(37 * 512)]
    await run.shown.disk.read(0, before)
    await run.shown.disk.flush()
    await run.shown.disk.read(0, after)
    expect(Buffer.compare(before, after)).toBe(0)
    expect(readFileSync(join(run.dir, 'new'))).toEqual(Buffer.from(pattern(30_000, 5)))
    expect(await run.guest.check()).toContain(': 3 files')
  },
)

mtools.it('brings what was written into the directory when the disk is closed', async () => {
  const run = await start({ a: 'first' })
  await run.guest.write(['mcopy', source('late'), '::/late.txt'])
  await run[Symbol.asyncDispose]()
  expect(holdings(run.dir)).toEqual({ a: 'first', 'late.txt': 'late' })
})

mtools.it('a small change reaches the directory without a flush, a large one waits for it', async () => {
  await using run = await start({ a: 'first' }, { fatType: 12 })
  await run.guest.write(['mcopy', source('small'), '::/small'], ['mdel', '::/a'])
  expect(holdings(run.dir)).toEqual({ small: 'small' })
  await run.guest.write(['mcopy', source(new Uint8Array(2 ** 21).fill(7)), '::/large'])
  expect(existsSync(join(run.dir, 'large'))).toBe(false)
  await run.shown.disk.flush()
  expect(statSync(join(run.dir, 'large')).size).toBe(2 ** 21)
  await run.guest.write(['mcopy', source('again'), '::/again'])
  expect(readFileSync(join(run.dir, 'again'), 'utf8')).toBe('again')
})

mtools.it('two files may change their content', async () => {
  await using run = await start({ a: pattern(30_000, 1), b: pattern(20_000, 2) })
  await run.guest.do(['mren', '::/a', '::/c'], ['mren', '::/b', '::/a'], ['mren', '::/c', '::/b'])
  expect(readFileSync(join(run.dir, 'b'))).toEqual(Buffer.from(pattern(30_000, 1)))
  expect(readFileSync(join(run.dir, 'a'))).toEqual(Buffer.from(pattern(20_000, 2)))
  await run.guest.check()
})

mtools.it('keeps the mode of a file and takes the time of the guest', async () => {
  await using run = await start({ 'script.sh': 'echo' })
  chmodSync(join(run.dir, 'script.sh'), 0o751)
  const content = source('echo 2')
  utimesSync(content, new Date(2001, 1, 3, 4, 5, 6), new Date(2001, 1, 3, 4, 5, 6))
  await run.guest.do(['mcopy', '-m', '-o', content, '::/script.sh'])
  const stats = statSync(join(run.dir, 'script.sh'))
  expect(stats.mode & 0o777).toBe(0o751)
  expect(stats.mtime).toEqual(new Date(2001, 1, 3, 4, 5, 6))
})
