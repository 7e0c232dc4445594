import {
  alignUp,
  BlockError,
  type BlockStatus,
  type Child,
  type ChildHandle,
  type CreateContext,
  type DriverDescriptor,
  type DriverInfo,
  Flag,
  isAligned,
  type Limits,
  type MeasureRequest,
  maxOffset,
  type OpenContext,
  type OpenImage,
  type Preallocation,
  type Prepared,
  type ReopenChange,
  type TruncateOptions,
} from '@diskgraph/core/driver'

/** Options of a `raw` node. */
export interface RawOptions {
  /** Where the bytes stand. */
  file: Child
  /** First byte of the disk in `file`. Default 0. */
  offset?: number
  /** Size of the disk, a multiple of 512. Default: up to the end of `file`. */
  size?: number
}

/** Settings of a new raw image. */
export interface RawCreateOptions {
  file: Child
  /** Virtual size; rounded up to a multiple of 512. */
  size: number
  /** Passed on to the storage. Default `off`. */
  preallocation?: Preallocation
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    raw: { open: RawOptions; create: RawCreateOptions }
  }
}

const sectorSize = 512

interface Window {
  readonly offset: number
  /** Undefined: as long as the file is. */
  readonly size: number | undefined
}

class RawImage implements OpenImage {
  readonly writeFlags = Flag.Fua | Flag.Unchanged
  readonly zeroFlags = Flag.Fua | Flag.MayUnmap | Flag.NoFallback | Flag.Unchanged
  readonly file: ChildHandle
  #offset: number
  #fixedSize: number | undefined

  constructor(file: ChildHandle, window: Window) {
    this.file = file
    this.#offset = window.offset
    this.#fixedSize = window.size
  }

  get size(): number {
    return this.#fixedSize ?? alignUp(Math.max(alignUp(this.file.size, sectorSize) - this.#offset, 0), sectorSize)
  }

  get limits(): Partial<Limits> {
    return { optimalTransfer: this.file.limits.optimalTransfer }
  }

  get zeroInit(): boolean {
    return this.file.zeroInit
  }

  read(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    const held = this.file.debugEvent('read_aio')
    const at = offset + this.#offset
    if (held !== undefined) return held.then(() => this.file.read(at, buf, flags, signal))
    return this.file.read(at, buf, flags, signal)
  }

  write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    if (!this.#holds(offset, buf.length)) return Promise.reject(this.#full(offset))
    const held = this.file.debugEvent('write_aio')
    const at = offset + this.#offset
    if (held !== undefined) return held.then(() => this.file.write(at, buf, flags, signal))
    return this.file.write(at, buf, flags, signal)
  }

  writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    if (!this.#holds(offset, length)) return Promise.reject(this.#full(offset))
    return this.file.writeZeroes(offset + this.#offset, length, flags, signal)
  }

  discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    if (!this.#holds(offset, length)) return Promise.reject(this.#full(offset))
    return this.file.discard(offset + this.#offset, length, signal)
  }

  /** Whether a range is within the disk, or in the file that grows where the disk has no size of its own. */
  #holds(offset: number, length: number): boolean {
    return this.#fixedSize === undefined || offset + length <= this.#fixedSize
  }

  #full(offset: number): BlockError {
    return new BlockError('ENOSPC', `no room at byte ${offset} of a raw disk of ${this.#fixedSize} bytes`)
  }

  blockStatus(offset: number, length: number): Promise<BlockStatus> {
    return Promise.resolve({
      length,
      data: true,
      zero: false,
      allocated: true,
      offset: offset + this.#offset,
      file: this.file,
      recurse: 'all',
    })
  }

  copyRange(
    offset: number,
    target: OpenImage,
    targetOffset: number,
    length: number,
    signal?: AbortSignal,
  ): Promise<void> {
    if (!(target instanceof RawImage && target.#holds(targetOffset, length))) {
      return Promise.reject(new BlockError('ENOTSUP', 'cannot copy to another driver, or past the end'))
    }
    return this.file.copyRange(offset + this.#offset, target.file, targetOffset + target.#offset, length, signal)
  }

  truncate(size: number, options: TruncateOptions, signal?: AbortSignal): Promise<void> {
    if (this.#fixedSize !== undefined) {
      return Promise.reject(new BlockError('ENOTSUP', 'Cannot resize fixed-size raw disks'))
    }
    if (size > maxOffset - this.#offset) return Promise.reject(new BlockError('EINVAL', 'Disk size too large'))
    return this.file.truncate(size + this.#offset, options, signal)
  }

  info(): Promise<DriverInfo> {
    return this.file.info()
  }

  async reopen(change: ReopenChange): Promise<Prepared> {
    const window = checkWindow(change.options, this.file)
    return {
      commit: () => {
        this.#offset = window.offset
        this.#fixedSize = window.size
      },
      abort: () => undefined,
    }
  }
}

/** The window that the options describe, checked against the file as QEMU checks it. */
function checkWindow(options: Pick<RawOptions, 'offset' | 'size'>, file: ChildHandle): Window {
  const { offset = 0, size } = options
  const fileSize = alignUp(file.size, sectorSize)
  if (offset > fileSize) {
    throw new BlockError(
      'EINVAL',
      `Offset (${offset}) cannot be greater than size of the containing file (${fileSize})`,
    )
  }
  if (size !== undefined && size > fileSize - offset) {
    throw new BlockError(
      'EINVAL',
      `The sum of offset (${offset}) and size (${size}) has to be smaller or equal to the  actual size of the containing file (${fileSize})`,
    )
  }
  if (size !== undefined && !isAligned(size, sectorSize)) {
    throw new BlockError('EINVAL', 'Specified size is not multiple of 512')
  }
  return { offset, size }
}

async function openRaw(context: OpenContext<Omit<RawOptions, 'file'>>): Promise<OpenImage> {
  const file = context.children.require('file')
  return new RawImage(file, checkWindow(context.options, file))
}

async function createRaw(context: CreateContext<Omit<RawCreateOptions, 'file'>>): Promise<void> {
  const { size, preallocation = 'off' } = context.options
  if (preallocation === 'metadata') {
    throw new BlockError('EINVAL', `Unsupported preallocation mode: ${preallocation}`)
  }
  await context.children.require('file').truncate(alignUp(size, sectorSize), { preallocation }, context.signal)
}

async function measureRaw(request: MeasureRequest) {
  const bytes = alignUp(request.size, sectorSize)
  return { required: bytes, fullyAllocated: bytes }
}

/** The driver `raw`. */
export const raw: DriverDescriptor = {
  name: 'raw',
  kind: 'format',
  description: 'The bytes of a file, or a window of them, as they are.',
  options: {
    file: { type: 'child', role: 'data', required: true, description: 'Where the bytes stand' },
    offset: {
      type: 'integer',
      size: true,
      minimum: 0,
      default: 0,
      strong: true,
      reopen: true,
      description: 'First byte of the disk in the file',
    },
    size: { type: 'integer', size: true, minimum: 0, strong: true, reopen: true, description: 'Size of the disk' },
  },
  createOptions: {
    file: { type: 'child', role: 'storage', required: true, description: 'Where to write' },
    size: { type: 'integer', size: true, minimum: 0, required: true, description: 'Virtual disk size' },
    preallocation: {
      type: 'enum',
      values: ['off', 'metadata', 'falloc', 'full'],
      default: 'off',
      quiet: true,
      description: 'Preallocation mode (allowed values: off, falloc, full)',
    },
  },
  probe: () => 1,
  open: openRaw,
  create: createRaw,
  measure: measureRaw,
}
