import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Graph } from '@diskgraph/core'
import { beforeEach, expect, it, vi } from 'vitest'
import { openImage, temporaryFolder } from './support.ts'

/** The code that closing a descriptor ends with; undefined: it goes well. */
const failing: { code: string | undefined } = { code: undefined }

vi.mock(import('../src/calls.ts'), async (original) => {
  const calls = await original()
  return {
    ...calls,
    close: async (fd: number) => {
      await calls.close(fd)
      if (failing.code !== undefined) throw Object.assign(new Error(failing.code), { code: failing.code })
    },
  }
})

const filename = join(temporaryFolder(), 'x')

beforeEach(() => {
  failing.code = undefined
  writeFileSync(filename, 'x'.repeat(512))
})

it.each([
  ['EIO', 'Input/output error'],
  ['ENOSPC', 'No space left on device'],
  ['EDQUOT', 'Disk quota exceeded'],
])('%s of a delayed write comes out when the file is closed', async (code, words) => {
  const image = await openImage(filename)
  failing.code = code
  await expect(image.close()).rejects.toMatchObject({ code, message: `cannot close '${filename}': ${words}` })
})

it('an error of closing reaches who closes the graph', async () => {
  const { file } = await import('../src/index.ts')
  const graph = new Graph({ drivers: [file] })
  await graph.add({ driver: 'file', filename })
  failing.code = 'ENOSPC'
  await expect(graph.close()).rejects.toMatchObject({ code: 'ENOSPC' })
})
