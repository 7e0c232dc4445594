/** The file system of the demonstration, as other programs see it. */
import { execFileSync } from 'node:child_process'
import { Graph } from '@diskgraph/core'
import { file } from '@diskgraph/driver-file'
import { peer, TempFolder } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { makeFat16 } from '../src/demo/fat16.ts'

const fsck = peer('fsck.fat', { describe, it })
const mtype = peer('mtype', { describe, it })

/** An image of `size` bytes with two files. */
async function made(folder: TempFolder, size: number): Promise<string> {
  const filename = folder.file('disk.img')
  await using graph = new Graph({ drivers: [file] })
  await graph.create({ driver: 'file', filename, size })
  const disk = await graph.add({ driver: 'file', filename })
  await makeFat16(disk, 'DISKGRAPH', [
    { name: 'README.TXT', content: new TextEncoder().encode('hello\n'.repeat(1000)) },
    { name: 'EMPTY', content: new Uint8Array(0) },
  ])
  return filename
}

fsck.describe('a FAT16 file system', () => {
  it.each([16, 64, 100])('of %d MiB is clean', async (mebibytes) => {
    await using folder = await TempFolder.make()
    const filename = await made(folder, mebibytes * 2 ** 20)
    const output = execFileSync(fsck.path ?? '', ['-n', '-v', filename], { encoding: 'utf8' })
    expect(output).toMatch(/3 files, 3\/\d+ clusters/)
    expect(output).not.toMatch(/differ|wrong|bad|Dirty/i)
  })
})

mtype.it('has the content of its files', async () => {
  await using folder = await TempFolder.make()
  const filename = await made(folder, 64 * 2 ** 20)
  const content = execFileSync(mtype.path ?? '', ['-i', filename, '::README.TXT'], { encoding: 'utf8' })
  expect(content).toBe('hello\n'.repeat(1000))
})

it('is refused for sizes that FAT16 has not', async () => {
  await using folder = await TempFolder.make()
  await expect(made(folder, 2 ** 20)).rejects.toThrow('no FAT16 file system has 1048576 bytes')
  await expect(made(folder, 2 ** 30)).rejects.toThrow('no FAT16 file system has 1073741824 bytes')
})
