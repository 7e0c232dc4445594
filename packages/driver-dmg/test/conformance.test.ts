import { dmg } from '@diskgraph/driver-dmg'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'
import { dmgImage, usualPieces } from './image.ts'

await conformance({
  test: { describe, it },
  driver: dmg,
  size: 64 * 1024,
  setUp({ files, storage }) {
    const { bytes, content } = dmgImage(usualPieces(16), 'property list')
    files.put('image').write(0, bytes)
    return { definition: { driver: 'dmg', file: storage('image') }, content }
  },
})
