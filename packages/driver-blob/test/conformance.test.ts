import { blob } from '@diskgraph/driver-blob'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

await conformance({
  test: { describe, it },
  driver: blob,
  setUp({ size }) {
    const content = Uint8Array.from({ length: size }, (_, i) => (i * 7 + (i >> 8)) & 255)
    return { definition: { driver: 'blob', blob: new Blob([content]) }, content }
  },
})
