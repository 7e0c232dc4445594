import {
  type BlockStatus,
  type ChildHandle,
  type DriverInfo,
  Flag,
  type Limits,
  type OpenImage,
  type TruncateOptions,
} from '@diskgraph/core/driver'

/** The calls that a driver makes to its storage. */
export type CallKind = 'read' | 'write' | 'writeZeroes' | 'discard' | 'flush' | 'truncate' | 'blockStatus' | 'copyRange'

/** All {@link CallKind}s. */
export const callKinds: readonly CallKind[] = [
  'read',
  'write',
  'writeZeroes',
  'discard',
  'flush',
  'truncate',
  'blockStatus',
  'copyRange',
]

/** What a filter sees of a call before it goes to the child. */
export interface Call {
  readonly kind: CallKind
  readonly offset: number
  readonly length: number
  readonly flags: number
  /** Of a write. Belongs to the caller. */
  readonly data?: Uint8Array
}

/** A filter whose every request goes to its child through {@link ForwardingImage.around}. */
export abstract class ForwardingImage implements OpenImage {
  readonly writeFlags = Flag.Fua | Flag.Unchanged
  readonly zeroFlags = Flag.Fua | Flag.MayUnmap | Flag.NoFallback | Flag.Unchanged
  readonly child: ChildHandle

  constructor(child: ChildHandle) {
    this.child = child
  }

  /** Runs a request; `forward` performs it on the child. */
  protected abstract around<T>(call: Call, forward: () => Promise<T>): Promise<T>

  get size(): number {
    return this.child.size
  }

  get limits(): Partial<Limits> {
    return this.child.limits
  }

  get zeroInit(): boolean {
    return this.child.zeroInit
  }

  read(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    const call: Call = { kind: 'read', offset, length: buf.length, flags }
    return this.around(call, () => this.child.read(offset, buf, flags, signal))
  }

  write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    const call: Call = { kind: 'write', offset, length: buf.length, flags, data: buf }
    return this.around(call, () => this.child.write(offset, buf, flags, signal))
  }

  writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    const call: Call = { kind: 'writeZeroes', offset, length, flags }
    return this.around(call, () => this.child.writeZeroes(offset, length, flags, signal))
  }

  discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    return this.around({ kind: 'discard', offset, length, flags: 0 }, () => this.child.discard(offset, length, signal))
  }

  /** The core flushes the child itself after this; the filter does it here, so that the call is seen once. */
  flush(signal?: AbortSignal): Promise<void> {
    return this.around({ kind: 'flush', offset: 0, length: 0, flags: 0 }, () => this.child.flush(signal))
  }

  blockStatus(offset: number, length: number, signal?: AbortSignal): Promise<BlockStatus> {
    const call: Call = { kind: 'blockStatus', offset, length, flags: 0 }
    return this.around(call, async () => {
      const { length: known } = await this.child.blockStatus(offset, length, signal)
      const { child } = this
      return { length: known, data: true, zero: false, allocated: true, offset, file: child, recurse: 'all' }
    })
  }

  truncate(size: number, options: TruncateOptions, signal?: AbortSignal): Promise<void> {
    const call: Call = { kind: 'truncate', offset: size, length: 0, flags: 0 }
    return this.around(call, () => this.child.truncate(size, options, signal))
  }

  info(): Promise<DriverInfo> {
    return this.child.info()
  }
}
