import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Graph } from '@diskgraph/core'
import { conformance } from '@diskgraph/driver-testkit'
import { native } from '@diskgraph/posix'
import { describe, expect, it } from 'vitest'
import { allowPromptWrites, file } from '../src/index.ts'
import { temporaryFolder } from './support.ts'

const folder = temporaryFolder()
let count = 0

allowPromptWrites()

await conformance({
  test: { describe, it },
  driver: file,
  setUp({ size }) {
    const filename = join(folder, `image-${++count}`)
    writeFileSync(filename, '')
    truncateSync(filename, size)
    return { definition: { driver: 'file', filename }, tearDown: () => rm(filename) }
  },
})

it.skipIf(native() === null)('a small write has reached the file when the call returns', async () => {
  const filename = join(folder, 'small')
  writeFileSync(filename, new Uint8Array(8192))
  await using graph = new Graph({ drivers: [file] })
  const disk = await graph.add({ driver: 'file', filename })
  const writing = disk.write(4096, new Uint8Array(4096).fill(7))
  expect(
    readFileSync(filename)
      .subarray(4096)
      .every((byte) => byte === 7),
  ).toBe(true)
  await writing
})
