/**
 * An open image of a format that maps and allocates, and has no more to say: data goes where the mapping says, nothing
 * is guarded. A driver extends it with what its format has besides: `flush`, `info`, `check`, `truncate`.
 */
import {
  type Allocations,
  type BackingFile,
  blockStatus,
  type ClusterChanges,
  type CompressedData,
  type DataImage,
  type DataMap,
  type InFlight,
  newRun,
  readRange,
  writeRange,
  Yielder,
  zeroRange,
} from '@diskgraph/clusters'
import {
  type BlockStatus,
  type ChildHandle,
  Flag,
  isPowerOfTwo,
  type Limits,
  type OpenImage,
  type Prepared,
  type ReopenChange,
} from '@diskgraph/core/driver'

/** What {@link SparseImage} is made from. */
export interface SparseParts {
  readonly file: ChildHandle
  readonly clusterSize: number
  /** Bytes of the disk now. */
  size(): number
  readonly readOnly: boolean
  readonly map: DataMap & Allocations & ClusterChanges & { readonly inFlight: InFlight }
  /** The backing file, asked for at every use. Default: none. */
  readonly backing?: () => BackingFile | undefined
  /** Whether the image names a backing file, even if none is open. Default: it does not. */
  readonly namesBacking?: () => boolean
  /** Reads compressed clusters. Default: there are none. */
  readonly compressed?: CompressedData
}

/** See the top of this file. */
export abstract class SparseImage implements OpenImage {
  readonly zeroFlags = Flag.MayUnmap | Flag.NoFallback | Flag.Unchanged
  readonly writeFlags: number = Flag.Unchanged
  readonly limits: Partial<Limits>
  protected readonly data: SparseData

  constructor(parts: SparseParts) {
    this.data = new SparseData(parts)
    const { clusterSize } = parts
    this.limits = { alignment: 1, ...(isPowerOfTwo(clusterSize) ? { optimalTransfer: clusterSize } : {}) }
  }

  get size(): number {
    return this.data.size
  }

  read(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    return readRange(this.data, offset, buf, signal)
  }

  write(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    return writeRange(this.data, offset, buf, signal)
  }

  writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    return zeroRange(this.data, offset, length, flags, signal)
  }

  discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    return this.data.changes.discard(offset, length, signal)
  }

  blockStatus(offset: number, length: number, signal?: AbortSignal): Promise<BlockStatus> {
    return blockStatus(this.data, offset, length, signal)
  }

  /** Brings everything into the file, and leaves it as an image is that nobody has open. Nothing where it is read-only. */
  abstract close(): Promise<void>

  async reopen(change: ReopenChange): Promise<Prepared> {
    if (change.readOnly) await this.close()
    return {
      commit: () => {
        this.data.readOnly = change.readOnly
      },
      abort: () => {},
    }
  }
}

const sound = {
  broken: false,
  unusable: (): never => {
    throw new Error('an image that is never found corrupt was')
  },
}

const nothingCompressed = { read: (): number => 0 }

class SparseData implements DataImage {
  readonly file: ChildHandle
  readonly geometry: { readonly clusterSize: number }
  readonly map: DataMap
  readonly allocations: Allocations
  readonly changes: ClusterChanges
  readonly compressed: CompressedData
  readonly inFlight: InFlight
  readonly frees = { track: (request: Promise<void>): Promise<void> => request }
  readonly corruption = sound
  readonly run = newRun()
  readonly statusYielder = new Yielder()
  readonly backing: () => BackingFile | undefined
  readOnly: boolean
  readonly #size: () => number
  readonly #namesBacking: () => boolean

  constructor(parts: SparseParts) {
    this.file = parts.file
    this.geometry = { clusterSize: parts.clusterSize }
    this.map = parts.map
    this.allocations = parts.map
    this.changes = parts.map
    this.inFlight = parts.map.inFlight
    this.readOnly = parts.readOnly
    this.compressed = parts.compressed ?? nothingCompressed
    this.backing = parts.backing ?? (() => undefined)
    this.#namesBacking = parts.namesBacking ?? (() => false)
    this.#size = parts.size
  }

  get size(): number {
    return this.#size()
  }

  get namesBacking(): boolean {
    return this.#namesBacking()
  }

  isPreallocated(): Promise<boolean> {
    return Promise.resolve(false)
  }

  checkUsable(): void {}

  guardWrite(): undefined {
    return undefined
  }

  guardInPlace(): undefined {
    return undefined
  }
}
