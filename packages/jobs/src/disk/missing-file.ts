/** What stands in the chain of a damaged disk for a file that is not there. */
import { BlockError, type DriverDescriptor } from '@diskgraph/core'
import { alignDown, type BlockStatus, defineDriver, type OpenImage } from '@diskgraph/core/driver'

/** It ends behind every disk: nothing above it reads as zeroes because it were shorter. */
const endless = alignDown(Number.MAX_SAFE_INTEGER, 4096)

class MissingImage implements OpenImage {
  readonly size = endless
  readonly #reason: string

  constructor(reason: string) {
    this.#reason = reason
  }

  read(): Promise<void> {
    return Promise.reject(new BlockError('EIO', this.#reason))
  }

  blockStatus(_offset: number, length: number): Promise<BlockStatus> {
    return Promise.resolve({ length, data: true, zero: false, allocated: true })
  }

  mappingLost(_offset: number, length: number): Promise<{ lost: boolean; length: number; reason: string }> {
    return Promise.resolve({ lost: true, length, reason: this.#reason })
  }
}

/**
 * For the setting `standIn` of `graph.open`: takes the place of `filename`, which could not be opened because of
 * `error`. Reads of it fail with EIO, and `rescue` counts all that it would have held as missing.
 */
export function missingFile(filename: string, error: BlockError): DriverDescriptor {
  const reason = `'${filename}' could not be opened: ${error.message}`
  return defineDriver<object>()({
    name: 'missing-file',
    kind: 'protocol',
    description: 'A file that could not be opened.',
    options: {},
    open: () => Promise.resolve(new MissingImage(reason)),
  })
}
