import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, renameSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Flag, Graph } from '@diskgraph/core'
import { describe, expect, it } from 'vitest'
import { file } from '../src/index.ts'
import { createImage, hasNative, openImage, pattern, smallFileSystem, temporaryFolder } from './support.ts'

const folder = temporaryFolder()
const KiB = 1024
const MiB = 1024 * KiB
let count = 0

/** A new file with this content. */
function fileOf(content: Uint8Array): string {
  const filename = join(folder, `f${count++}`)
  writeFileSync(filename, content)
  return filename
}

/** A new empty file of this size, all hole. */
function sparseFile(size: number): string {
  const filename = fileOf(new Uint8Array(0))
  truncateSync(filename, size)
  return filename
}

describe('requests', () => {
  it('reads what was written, at any offset and length', async () => {
    const filename = sparseFile(2 * MiB)
    const image = await openImage(filename)
    for (const [offset, length] of [
      [0, 1],
      [511, 2],
      [4095, 4098],
      [100_000, 300_000],
      [MiB, MiB],
    ] as const) {
      const data = pattern(length, offset)
      await image.write(offset, data, 0)
      const buf = new Uint8Array(length)
      await image.read(offset, buf, 0)
      expect(Buffer.compare(buf, data)).toBe(0)
    }
    await image.close()
    expect(Buffer.compare(readFileSync(filename).subarray(MiB), pattern(MiB, MiB))).toBe(0)
  })

  it('touches only its own part of a larger buffer', async () => {
    const image = await openImage(fileOf(pattern(4096)))
    const memory = new Uint8Array(100).fill(238)
    await image.read(10, memory.subarray(20, 30), 0)
    expect(memory.subarray(20, 30)).toEqual(pattern(20).subarray(10))
    expect(memory.subarray(0, 20).every((byte) => byte === 238)).toBe(true)
    expect(memory.subarray(30).every((byte) => byte === 238)).toBe(true)
    await image.close()
  })

  it('fills what lies past the end of the file with zeroes', async () => {
    const filename = fileOf(pattern(MiB))
    const image = await openImage(filename)
    truncateSync(filename, 1000)
    for (const length of [2000, 600 * KiB]) {
      const buf = new Uint8Array(length).fill(255)
      await image.read(500, buf, 0)
      expect(buf.subarray(0, 500)).toEqual(pattern(1000).subarray(500))
      expect(buf.subarray(500).every((byte) => byte === 0)).toBe(true)
    }
    await image.close()
  })

  it('reads a range that is only partly cached', async () => {
    const data = pattern(MiB)
    const filename = fileOf(data)
    execFileSync('sync', [filename])
    execFileSync('dd', [`if=${filename}`, 'iflag=nocache', 'count=0'], { stdio: 'ignore' })
    const image = await openImage(filename)
    await image.read(128 * KiB, new Uint8Array(4096), 0)
    const buf = new Uint8Array(100 * KiB)
    await image.read(100 * KiB, buf, 0)
    expect(Buffer.compare(buf, data.subarray(100 * KiB, 200 * KiB))).toBe(0)
    await image.close()
  })

  it('grows the size by writes past the end', async () => {
    const image = await openImage(sparseFile(100))
    await image.write(1000, pattern(24), 0)
    expect(image.size).toBe(1024)
    await image.write(0, pattern(24), 0)
    expect(image.size).toBe(1024)
    await image.close()
  })

  it('keeps the event loop turning while cached reads follow each other', async () => {
    const image = await openImage(fileOf(pattern(64 * KiB)))
    const buf = new Uint8Array(4096)
    let turned = false
    setImmediate(() => {
      turned = true
    })
    for (let i = 0; i < 10_000 && !turned; i++) await image.read(0, buf, 0)
    expect(turned).toBe(true)
    await image.close()
  })

  it('rejects requests whose signal is aborted', async () => {
    const image = await openImage(sparseFile(4096))
    const signal = AbortSignal.abort()
    const buf = new Uint8Array(512)
    await expect(image.read(0, buf, 0, signal)).rejects.toMatchObject({ code: 'ECANCELED' })
    await expect(image.write(0, buf, 0, signal)).rejects.toMatchObject({ code: 'ECANCELED' })
    await expect(image.truncate(0, {}, signal)).rejects.toMatchObject({ code: 'ECANCELED' })
    await image.close()
  })

  it('reports errors with their code, the name and the place', async () => {
    const image = await openImage(fileOf(pattern(4096)), { readOnly: true })
    await expect(image.write(512, new Uint8Array(10), 0)).rejects.toMatchObject({
      message: expect.stringMatching(/^cannot write 10 bytes at 512 of '.*': Bad file descriptor$/),
    })
    await image.close()
    await expect(image.read(0, new Uint8Array(300_000), 0)).rejects.toMatchObject({ code: 'EIO' })
  })
})

describe.skipIf(!hasNative)('zeroes, discards and status', () => {
  it('tells data from holes', async () => {
    const filename = sparseFile(4 * MiB)
    const image = await openImage(filename)
    await image.write(MiB, pattern(64 * KiB), 0)
    expect(await image.blockStatus(0, 4 * MiB)).toEqual({
      length: MiB,
      data: false,
      zero: true,
      allocated: true,
      offset: 0,
    })
    expect(await image.blockStatus(MiB, MiB)).toMatchObject({ length: 64 * KiB, data: true, zero: false, offset: MiB })
    expect(await image.blockStatus(MiB + 10, 20)).toMatchObject({ length: 20, data: true })
    expect(await image.blockStatus(MiB + 64 * KiB, 8 * MiB)).toMatchObject({ data: false, zero: true })
    await image.close()
  })

  it('forgets remembered data when a hole is made in it', async () => {
    const image = await openImage(fileOf(pattern(MiB)))
    expect((await image.blockStatus(0, MiB)).length).toBe(MiB)
    await image.discard?.(256 * KiB, 256 * KiB)
    expect((await image.blockStatus(0, MiB)).length).toBe(256 * KiB)
    await image.close()
  })

  it('gives the space of discarded ranges back and keeps the size', async () => {
    const filename = fileOf(pattern(MiB))
    const image = await openImage(filename)
    await image.flush()
    const before = (await image.info()).allocatedSize ?? 0
    await image.discard?.(0, 512 * KiB)
    expect((await image.info()).allocatedSize).toBe(before - 512 * KiB)
    expect(image.size).toBe(MiB)
    await image.close()
    expect(
      readFileSync(filename)
        .subarray(0, 512 * KiB)
        .every((byte) => byte === 0),
    ).toBe(true)
  })

  it.each([
    ['without', 0],
    ['with', Flag.MayUnmap],
  ])('makes zeroes %s deallocating, also past the end', async (_, flags) => {
    const filename = fileOf(pattern(MiB))
    const image = await openImage(filename)
    await image.writeZeroes?.(100, 300_000, flags)
    await image.writeZeroes?.(MiB - 4096, 8192, flags)
    expect(image.size).toBe(MiB + 4096)
    await image.close()
    const expected = Buffer.concat([pattern(MiB), new Uint8Array(4096)])
    expected.fill(0, 100, 300_100)
    expected.fill(0, MiB - 4096)
    expect(Buffer.compare(readFileSync(filename), expected)).toBe(0)
  })

  it('keeps the space of zeroes that may not be deallocated', async () => {
    const filename = fileOf(pattern(MiB))
    const image = await openImage(filename)
    await image.flush()
    const before = (await image.info()).allocatedSize
    await image.writeZeroes?.(0, MiB, 0)
    expect((await image.info()).allocatedSize).toBe(before)
    expect(await image.blockStatus(0, MiB)).toMatchObject({ zero: true, length: MiB })
    await image.close()
  })
})

describe('size', () => {
  it('is set by truncate, both ways', async () => {
    const filename = fileOf(pattern(MiB))
    const image = await openImage(filename)
    await image.truncate(1000, {})
    await image.truncate(5000, { exact: true })
    expect(image.size).toBe(5000)
    await image.close()
    expect(readFileSync(filename)).toEqual(Buffer.concat([pattern(1000), Buffer.alloc(4000)]))
  })

  it.each(['falloc', 'full'] as const)('grows with preallocation %s', async (preallocation) => {
    const filename = fileOf(pattern(4096))
    const image = await openImage(filename)
    await image.truncate(3 * MiB + 512, { preallocation })
    expect(image.size).toBe(3 * MiB + 512)
    expect(statSync(filename).blocks * 512).toBeGreaterThanOrEqual(3 * MiB)
    await image.close()
    expect(readFileSync(filename).subarray(0, 4096)).toEqual(Buffer.from(pattern(4096)))
  })

  it('refuses preallocation where it means nothing', async () => {
    const image = await openImage(sparseFile(MiB))
    await expect(image.truncate(0, { preallocation: 'full' })).rejects.toMatchObject({
      code: 'EINVAL',
      message: "Preallocation can't be used for shrinking files",
    })
    await expect(image.truncate(2 * MiB, { preallocation: 'metadata' })).rejects.toMatchObject({
      code: 'ENOTSUP',
      message: 'Unsupported preallocation mode: metadata',
    })
    await image.close()
  })

  it('is the old one again when preallocation fails', async () => {
    const filename = sparseFile(4096)
    const image = await openImage(filename)
    const abort = new AbortController()
    const growing = image.truncate(512 * MiB, { preallocation: 'full' }, abort.signal)
    setTimeout(() => abort.abort(), 5)
    await expect(growing).rejects.toMatchObject({ code: 'ECANCELED' })
    expect(statSync(filename).size).toBe(4096)
    expect(image.size).toBe(4096)
    await image.close()
  })

  it('is asked for again when the cache is invalidated', async () => {
    const filename = sparseFile(4096)
    const image = await openImage(filename)
    truncateSync(filename, 8192)
    expect(image.size).toBe(4096)
    await image.invalidateCache()
    expect(image.size).toBe(8192)
    await image.close()
  })
})

describe('copies', () => {
  it.skipIf(!hasNative)('run inside the kernel between two files', async () => {
    const from = await openImage(fileOf(pattern(3 * MiB)))
    const target = sparseFile(0)
    const to = await openImage(target)
    await from.copyRange(100, to, 50, 2 * MiB)
    expect(to.size).toBe(50 + 2 * MiB)
    await to.close()
    expect(Buffer.compare(readFileSync(target).subarray(50), pattern(3 * MiB).subarray(100, 100 + 2 * MiB))).toBe(0)
    await from.close()
  })

  it('answer ENOTSUP for what the kernel cannot copy', async () => {
    const image = await openImage(fileOf(pattern(MiB)))
    const other = { size: MiB, read: () => Promise.resolve() }
    await expect(image.copyRange(0, other, 0, 512)).rejects.toMatchObject({ code: 'ENOTSUP' })
    await expect(image.copyRange(0, image, 100, 512)).rejects.toMatchObject({ code: 'ENOTSUP' })
    await image.close()
  })
})

describe('reopen', () => {
  it('changes between read-only and read-write, also after the file was renamed', async () => {
    const filename = fileOf(pattern(4096))
    const image = await openImage(filename, { readOnly: true })
    renameSync(filename, `${filename}.renamed`)
    const change = {
      options: {},
      readOnly: false,
      cache: { direct: false, noFlush: false },
      discard: 'ignore' as const,
    }
    if (process.platform === 'linux') {
      const prepared = await image.reopen(change)
      prepared.commit()
      await image.write(0, pattern(512, 9), 0)
      expect(readFileSync(`${filename}.renamed`).subarray(0, 512)).toEqual(Buffer.from(pattern(512, 9)))
    }
    await image.close()
  })

  it('changes nothing when it is called off', async () => {
    const image = await openImage(fileOf(pattern(4096)))
    const prepared = await image.reopen({
      options: {},
      readOnly: true,
      cache: { direct: false, noFlush: false },
      discard: 'ignore',
    })
    prepared.abort()
    await image.write(0, pattern(512, 9), 0)
    await image.close()
  })
})

describe('names', () => {
  it('lose their prefix, and get it back only where they need it', () => {
    expect(file.parseFilename?.('file:a:b.raw')).toEqual({ filename: 'a:b.raw' })
    expect(file.parseFilename?.('plain.raw')).toEqual({ filename: 'plain.raw' })
    expect(file.formatFilename?.({ filename: '/x/a:b.raw' }, {})).toBe('/x/a:b.raw')
    expect(file.formatFilename?.({ filename: 'a:b.raw' }, {})).toBe('./a:b.raw')
    expect(file.formatFilename?.({ filename: 'a', locking: 'off' }, {})).toBe('a')
  })

  it('tell the same storage by the same identity', async () => {
    const filename = fileOf(pattern(10))
    const [one, two] = [await openImage(filename), await openImage(filename)]
    const other = await openImage(fileOf(pattern(10)))
    expect(one.identity).toBe(two.identity)
    expect(one.identity).not.toBe(other.identity)
    for (const image of [one, two, other]) await image.close()
  })
})

it('is a node of a graph', async () => {
  const filename = sparseFile(MiB)
  const graph = new Graph({ drivers: [file] })
  await using disk = await graph.add({ driver: 'file', filename, discard: 'unmap' })
  const data = pattern(5000)
  await disk.write(1234, data)
  const buf = new Uint8Array(5000)
  await disk.read(1234, buf)
  expect(buf).toEqual(data)
  await disk.flush()
  await disk.discard(0, MiB)
  await disk.truncate(2 * MiB)
  expect(disk.size).toBe(2 * MiB)
  await graph.close()
})

it('reports what went wrong at closing', async () => {
  const filename = fileOf(pattern(10))
  const image = await openImage(filename)
  await image.close()
  await expect(image.close()).rejects.toMatchObject({ message: `cannot close '${filename}': Bad file descriptor` })
})

describe('a full disk', () => {
  it('answers ENOSPC, keeps what was written, and takes requests again when there is room', async (context) => {
    const small = smallFileSystem(folder, MiB)
    if (small === undefined) return context.skip('no right to mount')
    try {
      const filename = join(small.folder, 'image')
      writeFileSync(filename, pattern(512 * KiB))
      const image = await openImage(filename)
      await expect(image.write(512 * KiB, pattern(MiB), 0)).rejects.toMatchObject({ code: 'ENOSPC' })
      expect(image.size).toBe(MiB)
      await expect(image.truncate(4 * MiB, { preallocation: 'falloc' })).rejects.toMatchObject({
        code: 'ENOSPC',
        message: `Could not ${hasNative ? 'preallocate new data' : 'write zeros for preallocation'}: No space left on device`,
      })
      await expect(image.truncate(4 * MiB, { preallocation: 'full' })).rejects.toMatchObject({
        code: 'ENOSPC',
        message: 'Could not write zeros for preallocation: No space left on device',
      })
      expect(statSync(filename).size).toBe(MiB)
      await image.truncate(512 * KiB, {})
      await image.write(512 * KiB, pattern(100), 0)
      await image.close()
      expect(Buffer.compare(readFileSync(filename), Buffer.concat([pattern(512 * KiB), pattern(100)]))).toBe(0)
      const target = join(small.folder, 'new')
      await expect(createImage({ filename: target, size: 8 * MiB, preallocation: 'full' })).rejects.toMatchObject({
        code: 'ENOSPC',
      })
      expect(existsSync(target)).toBe(false)
    } finally {
      small.remove()
    }
  })
})
