import { truncateSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'
import { file } from '../src/index.ts'
import { temporaryFolder } from './support.ts'

const folder = temporaryFolder()
let count = 0

for (const cache of [{ direct: false }, { direct: true }]) {
  await conformance({
    test: { describe, it },
    driver: file,
    // Blocks that have to be aligned go through memory.
    ...(cache.direct ? { refuses: ['copyRange'] as const } : {}),
    setUp({ size }) {
      const filename = join(folder, `image-${++count}`)
      writeFileSync(filename, '')
      truncateSync(filename, size)
      return { definition: { driver: 'file', filename, cache }, tearDown: () => rm(filename) }
    },
  })
}
