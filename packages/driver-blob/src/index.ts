import { abortedError, BlockError, type DriverDescriptor } from '@diskgraph/core/driver'

/** Options of a `blob` node: the bytes, as a Blob, or as a File that a person chose. */
export interface BlobOptions {
  blob: Blob
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    blob: { open: BlobOptions }
  }
}

/** The driver `blob`: the bytes of a Blob or File object, read-only. ESTALE when the file behind it has changed. */
export const blob: DriverDescriptor = {
  name: 'blob',
  kind: 'protocol',
  description: 'The bytes of a Blob or File object.',
  options: {
    blob: {
      type: 'value',
      required: true,
      expects: 'a Blob',
      check: (value) => value instanceof Blob,
      description: 'The Blob or File',
    },
  },
  formatFilename: (options) => `blob:${(options.blob as Partial<File>).name ?? ''}`,
  async open(context) {
    const source = context.options.blob as Blob
    return {
      size: source.size,
      async read(offset, buf, _flags, signal) {
        const part = source.slice(offset, offset + buf.length)
        const bytes = await part.arrayBuffer().catch((cause: Error) => {
          throw new BlockError('ESTALE', `cannot read the blob: ${cause.message}`, { cause })
        })
        if (signal?.aborted) throw abortedError(signal)
        buf.set(new Uint8Array(bytes))
      },
    }
  },
}
