import { readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it, vi } from 'vitest'
import { file } from '../src/index.ts'
import { createImage, temporaryFolder } from './support.ts'

const synced: string[] = []

vi.mock(import('../src/calls.ts'), async (original) => {
  const calls = await original()
  return {
    ...calls,
    sync: (fd: number) => {
      synced.push(readlinkSync(`/proc/self/fd/${fd}`))
      return calls.sync(fd)
    },
  }
})

const folder = temporaryFolder()

it.skipIf(process.platform !== 'linux')('the names of new and removed files are on stable storage', async () => {
  const filename = join(folder, 'new')
  await createImage({ filename, size: 1000 })
  expect(synced).toEqual([folder])
  await file.remove?.({ filename })
  expect(synced).toEqual([folder, folder])
})
