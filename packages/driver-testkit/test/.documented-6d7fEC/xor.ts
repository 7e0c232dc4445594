// diskgraph-driver-xor/src/index.ts
import type { Child, DriverDescriptor } from '@diskgraph/core'
import { type ChildHandle, Transform } from '@diskgraph/core/driver'

/** Options of an `xor` node. */
export interface XorOptions {
  file: Child
  /** Every byte is combined with this one. */
  key: number
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    xor: { open: XorOptions }
  }
}

class XorImage extends Transform {
  readonly key: number

  constructor(file: ChildHandle, key: number) {
    super(file)
    this.key = key
  }

  protected override decode(_offset: number, buf: Uint8Array): void {
    for (let i = 0; i < buf.length; i++) buf[i] = (buf[i] as number) ^ this.key
  }

  protected override encode(offset: number, buf: Uint8Array): void {
    this.decode(offset, buf)
  }
}

export const xor: DriverDescriptor = {
  name: 'xor',
  kind: 'filter',
  description: 'combines every byte with a key',
  options: {
    file: { type: 'child', role: 'filtered', required: true, description: 'node to read and write' },
    key: { type: 'integer', minimum: 0, maximum: 255, required: true, strong: true, description: 'the key' },
  },
  open: async ({ options, children }) => new XorImage(children.require('file'), options.key as number),
}
