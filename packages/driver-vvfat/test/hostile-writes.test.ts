/** Guests that write what is no file system, and hosts that change the directory meanwhile. A floppy disk, byte by byte. */
import { existsSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { holdings } from './guest.ts'
import { fill, type Shown, show, temporaryFolder } from './support.ts'

const folder = temporaryFolder()
let count = 0

const fatAt = 512
const rootAt = 512 + 4 * 512
const dataAt = rootAt + 32 * 512
const clusterBytes = 16 * 512
const clusterAt = (cluster: number): number => dataAt + (cluster - 2) * clusterBytes

interface Run extends AsyncDisposable {
  readonly dir: string
  readonly shown: Shown
  /** Changes sectors of the disk: the bytes at `offset` are handed to `change`. */
  edit(offset: number, length: number, change: (bytes: Uint8Array) => void): Promise<void>
  flush(): Promise<void>
}

/** Root directory: label, then `A`, `B` … one entry each. */
async function start(files: Readonly<Record<string, string | Uint8Array>>): Promise<Run> {
  const dir = fill(join(folder, `outer-${++count}`, 'dir'), files)
  const shown = await show({ readOnly: false, rw: true, floppy: true, dir })
  const { disk } = shown
  return {
    dir,
    shown,
    async edit(offset, length, change) {
      const [first, end] = [Math.floor(offset / 512) * 512, Math.ceil((offset + length) / 512) * 512]
      const bytes = new Uint8Array(end - first)
      await disk.read(first, bytes)
      change(bytes.subarray(offset - first, offset - first + length))
      await disk.write(first, bytes)
    },
    flush: () => disk.flush(),
    // What cannot be brought into the directory is an error of closing, too.
    [Symbol.asyncDispose]: () => Promise.resolve(shown[Symbol.asyncDispose]()).catch(() => undefined),
  }
}

const set = (text: string) => (bytes: Uint8Array) => bytes.set(Buffer.from(text, 'latin1'))

/** A generator of numbers below 256. */
function chance(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return (state >>> 16) & 0xff
  }
}

const large = Uint8Array.from({ length: 40_000 }, (_, i) => i % 256)

describe('garbage', () => {
  const files = { A: large, B: 'bee', 'C/D': large, 'C/E': 'eee' }
  const places = { 'the FAT': fatAt, 'the root directory': rootAt, 'a directory': clusterAt(2) }

  it.each(Object.entries(places))('in %s leaves the host as it was', async (_name, place) => {
    for (let seed = 1; seed <= 40; seed++) {
      await using run = await start(files)
      const before = holdings(join(run.dir, '..'))
      const random = chance(seed)
      await run.edit(place, 512, (bytes) => {
        for (let i = 0; i < 512; i++) bytes[i] = random()
      })
      await run.flush().catch((error) => expect(error.code).toBe('EIO'))
      expect(holdings(join(run.dir, '..')), `seed ${seed}`).toEqual(before)
    }
  })

  it('of single bytes never reaches what lies outside, nor takes content away', async () => {
    for (let seed = 1; seed <= 100; seed++) {
      await using run = await start(files)
      const outside = join(run.dir, '..', 'outside')
      writeFileSync(outside, 'outside')
      const random = chance(seed)
      for (let i = 0; i < 8; i++) {
        const place = Object.values(places)[random() % 3] as number
        await run.edit(place + random(), 1, (bytes) => bytes.fill(random()))
      }
      await run.flush().catch((error) => expect(error.code, `seed ${seed}`).toBe('EIO'))
      expect(Object.keys(holdings(join(run.dir, '..'))).filter((name) => !name.startsWith('dir'))).toEqual(['outside'])
      expect(readFileSync(outside, 'utf8')).toBe('outside')
    }
  })
})

describe('a flush is refused, and the directory is as it was,', () => {
  const entry = (n: number): number => rootAt + 32 * n

  it.each<[string, RegExp, (run: Run) => Promise<void>]>([
    ['when two files have one cluster', /used twice/, (run) => run.edit(entry(2) + 26, 2, set('\x02\0'))],
    ['when a chain goes in a circle', /used twice/, (run) => run.edit(fatAt + 3, 3, set('\x02\x20\0'))],
    ['when a chain leads out of the disk', /which there is not/, (run) => run.edit(fatAt + 3, 3, set('\xfe\x0e\0'))],
    ['when a chain is too short', /fewer clusters/, (run) => run.edit(entry(1) + 28, 4, set('\0\0\x0f\0'))],
    ['when a name leads upwards', /short name/, (run) => run.edit(entry(1), 11, set('../B       '))],
    ['when a name is in a directory', /short name/, (run) => run.edit(entry(1), 11, set('C/D        '))],
    ['when two names are one', /two entries/, (run) => run.edit(entry(2), 11, set('A          '))],
    ['when the boot sector is another', /boot sector/, (run) => run.edit(13, 1, set('\x01'))],
    ['when a file becomes a directory', /no directory/, (run) => run.edit(entry(2) + 11, 1, set('\x10'))],
    ['when a file of zeroes becomes one', /no directory/, (run) => run.edit(entry(1) + 11, 1, set('\x10'))],
  ])('%s', async (_what, message, change) => {
    await using run = await start({ A: large, B: 'bee', 'C/D': 'd' })
    const before = holdings(join(run.dir, '..'))
    await change(run)
    await expect(run.flush()).rejects.toThrow(message)
    await expect(run.flush()).rejects.toMatchObject({ code: 'EIO', hint: expect.stringContaining('kept') })
    expect(holdings(join(run.dir, '..'))).toEqual(before)
  })

  it('and passes once the guest has made the file system sound', async () => {
    await using run = await start({ A: large, B: 'bee' })
    await run.edit(entry(1) + 28, 4, set('\0\0\x0f\0'))
    await expect(run.flush()).rejects.toThrow(/fewer clusters/)
    await run.edit(entry(1) + 28, 4, set('\x03\0\0\0'))
    await run.flush()
    expect(holdings(run.dir)).toEqual({ A: Buffer.from(large.subarray(0, 3)).toString('latin1'), B: 'bee' })
  })
})

describe('a long name', () => {
  it.each(['../evil', 'a/b', '..', 'nul\0inside', `${'ä'.repeat(200)}`])('%j is no name of a file', async (name) => {
    // As long as a name that stands there already, so that only its letters change.
    const there = 'n'.repeat(name.length)
    await using run = await start({ [there]: 'x' })
    const before = holdings(join(run.dir, '..'))
    const pieces = Math.ceil(name.length / 13)
    await run.edit(rootAt + 32, 32 * pieces, (bytes) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      for (let i = 0; i < name.length; i++) {
        const at = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30][i % 13] as number
        view.setUint16(32 * (pieces - 1 - Math.floor(i / 13)) + at, name.charCodeAt(i), true)
      }
    })
    const result = run.flush()
    if (name.includes('\0')) await result
    else await expect(result).rejects.toThrow('which no file can have')
    const names = Object.keys(holdings(join(run.dir, '..')))
    expect(names).toEqual(name.includes('\0') ? ['dir', 'dir/nul'] : Object.keys(before))
  })
})

describe('content stays', () => {
  it('of a file whose entry is gone while its clusters are in use: it is being moved', async () => {
    await using run = await start({ A: large, B: 'bee' })
    const entry = new Uint8Array(32)
    await run.edit(rootAt + 32, 32, (bytes) => {
      entry.set(bytes)
      bytes[0] = 0xe5
    })
    await run.flush()
    expect(readFileSync(join(run.dir, 'A'))).toEqual(Buffer.from(large))
    entry.set(Buffer.from('MOVED   TXT'))
    await run.edit(rootAt + 3 * 32, 32, (bytes) => bytes.set(entry))
    await run.flush()
    expect(existsSync(join(run.dir, 'A'))).toBe(false)
    expect(readFileSync(join(run.dir, 'moved.txt'))).toEqual(Buffer.from(large))
  })

  it('of a file that grows after its content was written and flushed', async () => {
    await using run = await start({ A: 'short' })
    await run.edit(clusterAt(2), 10, set('shortlong!'))
    await run.flush()
    expect(readFileSync(join(run.dir, 'A'), 'utf8')).toBe('short')
    await run.edit(rootAt + 32 + 28, 4, set('\x0a\0\0\0'))
    await run.flush()
    expect(readFileSync(join(run.dir, 'A'), 'utf8')).toBe('shortlong!')
  })
})

describe('what the host changed meanwhile', () => {
  it('is not written over', async () => {
    await using run = await start({ A: 'first' })
    writeFileSync(join(run.dir, 'A'), 'of the host')
    await run.edit(clusterAt(2), 5, set('guest'))
    await expect(run.flush()).rejects.toMatchObject({ code: 'EBUSY' })
    expect(holdings(run.dir)).toEqual({ A: 'of the host' })
  })

  it('is not removed', async () => {
    await using run = await start({ A: '', B: 'b' })
    writeFileSync(join(run.dir, 'A'), 'of the host')
    await run.edit(rootAt + 32, 1, set('\xe5'))
    await expect(run.flush()).rejects.toMatchObject({ code: 'EBUSY' })
    expect(holdings(run.dir)).toEqual({ A: 'of the host', B: 'b' })
  })

  it('is not taken for what the guest makes', async () => {
    await using run = await start({ A: '' })
    writeFileSync(join(run.dir, 'new'), 'of the host')
    await run.edit(rootAt + 32, 11, set('NEW        '))
    await expect(run.flush()).rejects.toMatchObject({ code: 'EEXIST' })
    expect(holdings(run.dir)).toEqual({ A: '', new: 'of the host' })
  })

  it('never leads out of the directory', async () => {
    await using run = await start({ 'C/D': 'inside' })
    const away = fill(join(run.dir, '..', 'away'), { D: 'away' })
    renameSync(join(run.dir, 'C'), join(run.dir, 'C2'))
    symlinkSync(away, join(run.dir, 'C'))
    await run.shown.disk.write(clusterAt(3), new Uint8Array(512).fill(71))
    await expect(run.flush()).rejects.toThrow('cannot bring')
    expect(readFileSync(join(away, 'D'), 'utf8')).toBe('away')
  })

  it('never lets a new file be made outside', async () => {
    await using run = await start({ 'C/D': 'inside' })
    const away = fill(join(run.dir, '..', 'away'), {})
    renameSync(join(run.dir, 'C'), join(run.dir, '..', 'C'))
    symlinkSync(away, join(run.dir, 'C'))
    await run.edit(clusterAt(2) + 3 * 32, 32, (bytes) => {
      bytes.fill(0)
      bytes.set(Buffer.from('NEW     TXT '))
    })
    await expect(run.flush()).rejects.toThrow('cannot bring')
    expect(holdings(away)).toEqual({})
  })

  it('links of the host are left alone: they are not shown, and nothing takes their names', async () => {
    const dir = fill(join(folder, 'links'), { A: '' })
    writeFileSync(join(folder, 'target'), 'target')
    symlinkSync(join(folder, 'target'), join(dir, 'new'))
    const shown = await show({ readOnly: false, rw: true, floppy: true, dir })
    const bytes = new Uint8Array(512)
    await shown.disk.read(rootAt, bytes)
    bytes.set(Buffer.from('NEW        '), 32)
    await shown.disk.write(rootAt, bytes)
    await expect(shown[Symbol.asyncDispose]()).rejects.toMatchObject({ code: 'EEXIST' })
    expect(readFileSync(join(folder, 'target'), 'utf8')).toBe('target')
  })

  it('what a run left that was killed is not shown', async () => {
    const dir = fill(join(folder, 'left'), { A: 'a', '.diskgraph-vvfat-1-0/1': 'part' })
    await using shown = await show({ dir, floppy: true })
    const root = new Uint8Array(512)
    await shown.disk.read(rootAt, root)
    expect(Buffer.from(root).toString('latin1')).not.toContain('DISKGR')
    expect(shown.warnings).toEqual([])
  })
})
