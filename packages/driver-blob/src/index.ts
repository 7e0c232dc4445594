import { abortedError, BlockError, type DriverDescriptor } from '@diskgraph/core'

/** Options of a `blob` node. */
export interface BlobOptions {
  /** The bytes: a Blob, or a File that a person chose. */
  blob: Blob
}

declare module '@diskgraph/core' {
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
        const bytes = await source.slice(offset, offset + buf.length).arrayBuffer().catch(unreadable)
        if (signal?.aborted) throw abortedError(signal)
        buf.set(new Uint8Array(bytes))
      },
    }
  },
}

function unreadable(cause: unknown): never {
  const code = (cause as Error).name === 'NotReadableError' ? 'ESTALE' : 'EIO'
  throw new BlockError(code, `cannot read the blob: ${(cause as Error).message}`, { cause })
}
