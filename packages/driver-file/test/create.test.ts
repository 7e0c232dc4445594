import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Graph } from '@diskgraph/core'
import { expect, it } from 'vitest'
import { file } from '../src/index.ts'
import { createImage, openImage, pattern, temporaryFolder } from './support.ts'

const folder = temporaryFolder()
const at = (name: string) => join(folder, name)
const MiB = 1024 * 1024

it('makes a file of its size that takes the space of its first block only', async () => {
  await createImage({ filename: at('plain'), size: 5 * MiB + 100 })
  const stats = statSync(at('plain'))
  expect(stats.size).toBe(5 * MiB + 100)
  expect(stats.blocks * 512).toBe(4096)
  expect(stats.mode & 0o777 & ~0o644).toBe(0)
})

it.each(['falloc', 'full'])('takes all space at once with preallocation %s', async (preallocation) => {
  await createImage({ filename: at(preallocation), size: 3 * MiB, preallocation })
  const stats = statSync(at(preallocation))
  expect(stats.size).toBe(3 * MiB)
  expect(stats.blocks * 512).toBeGreaterThanOrEqual(3 * MiB)
  expect(readFileSync(at(preallocation)).every((byte) => byte === 0)).toBe(true)
})

it('gives a file that was empty a first block, also by direct access, and grows others without one', async () => {
  for (const direct of [false, true]) {
    await createImage({ filename: at('grown'), size: 0 })
    expect(statSync(at('grown')).blocks).toBe(0)
    const disk = await openImage(at('grown'), { direct })
    await disk.truncate(1000 * 512, {})
    await disk.close()
    expect(statSync(at('grown'))).toMatchObject({ size: 1000 * 512, blocks: 8 })
  }
  writeFileSync(at('hole'), '')
  truncateSync(at('hole'), MiB)
  const disk = await openImage(at('hole'))
  await disk.truncate(2 * MiB, {})
  await disk.close()
  expect(statSync(at('hole')).blocks).toBe(0)
})

it('empties a file that is there', async () => {
  writeFileSync(at('old'), pattern(MiB))
  await createImage({ filename: at('old'), size: 1000 })
  expect(readFileSync(at('old'))).toEqual(Buffer.alloc(1000))
})

it('ignores nocow where there is none, and warns that a hint was not taken', async () => {
  const warnings: string[] = []
  await createImage({ filename: at('hints'), size: MiB, nocow: true, extentSizeHint: MiB }, { warnings })
  expect(statSync(at('hints')).size).toBe(MiB)
  for (const warning of warnings) expect(warning).toMatch(/^Failed to set extent size hint: /)
})

it('refuses what is no file in the words of QEMU', async () => {
  mkdirSync(at('directory'))
  execFileSync('mkfifo', [at('fifo')])
  const messages: [string, string][] = [
    [at('directory'), `Could not create '${at('directory')}': Is a directory`],
    [at('none/x'), `Could not create '${at('none/x')}': No such file or directory`],
    [at('fifo'), `'file' driver requires '${at('fifo')}' to be a regular file`],
  ]
  for (const [filename, message] of messages) {
    await expect(createImage({ filename, size: 10 })).rejects.toMatchObject({ message })
  }
})

it('removes what it made when it fails, and leaves alone what was there', async () => {
  await expect(createImage({ filename: at('huge'), size: 2 ** 53 - 1 })).rejects.toMatchObject({ code: 'EFBIG' })
  expect(existsSync(at('huge'))).toBe(false)
  const signal = AbortSignal.abort()
  await expect(
    createImage({ filename: at('aborted'), size: MiB, preallocation: 'full' }, { signal }),
  ).rejects.toMatchObject({ code: 'ECANCELED' })
  expect(existsSync(at('aborted'))).toBe(false)
  writeFileSync(at('mine'), pattern(10))
  await expect(createImage({ filename: at('mine'), size: 2 ** 53 - 1 })).rejects.toMatchObject({ code: 'EFBIG' })
  expect(existsSync(at('mine'))).toBe(true)
})

it('removes files', async () => {
  await createImage({ filename: at('gone'), size: 10 })
  await file.remove?.({ filename: at('gone') })
  expect(existsSync(at('gone'))).toBe(false)
  await expect(file.remove?.({ filename: at('gone') })).rejects.toMatchObject({
    code: 'ENOENT',
    message: `cannot remove '${at('gone')}': No such file or directory`,
  })
})

it('is how a graph makes files', async () => {
  await using graph = new Graph({ drivers: [file] })
  await graph.create({ driver: 'file', filename: at('by-graph'), size: 4 * MiB, preallocation: 'falloc' })
  const image = await openImage(at('by-graph'))
  expect(image.size).toBe(4 * MiB)
  await image.close()
})
