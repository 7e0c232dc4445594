import { type DriverDescriptor, Flag, Passthrough } from '@diskgraph/core/driver'
import { compress } from '@diskgraph/driver-compress'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

/** Takes compressed data in clusters of 512 bytes, again and again, and keeps it as it is. */
class Compressing extends Passthrough {
  override get writeFlags(): number {
    return super.writeFlags | Flag.Compressed
  }

  override write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    return super.write(offset, buf, flags & ~Flag.Compressed, signal)
  }

  override async info() {
    return { ...(await super.info()), clusterSize: 512 }
  }
}

const compressing: DriverDescriptor = {
  name: 'compressing',
  kind: 'filter',
  description: 'Takes compressed data.',
  options: { file: { type: 'child', role: 'filtered', required: true, description: 'The storage' } },
  open: async ({ children }) => new Compressing(children.require('file')),
}

await conformance({
  test: { describe, it },
  driver: compress,
  drivers: [compressing],
  setUp: ({ files, size, blank, storage }) => {
    const content = Uint8Array.from({ length: size }, (_, i) => (blank ? 0 : (i % 253) + 1))
    const file = files.put('image')
    file.truncate(size)
    if (!blank) file.write(0, content)
    return { definition: { driver: 'compress', file: { driver: 'compressing', file: storage('image') } }, content }
  },
})
