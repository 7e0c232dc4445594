/** An edge of the graph: what a parent holds of a child. The node behind it may be swapped, drained. */

import { alignUp } from '../bytes.ts'
import {
  type BlockStatus,
  type ChildHandle,
  type ChildRole,
  done,
  type FollowedReads,
  type Limits,
  Permission,
  type TruncateOptions,
} from '../contract/contract.ts'
import type { DriverInfo } from '../contract/image-operations.ts'
import { BlockError } from '../errors.ts'
import { type Inspect, inspected, inspection } from '../inspection.ts'
import { withoutSecrets } from '../options/filenames.ts'
import { chainStatus } from './extents.ts'
import { type GraphEdge, isRoot, type Node, type Parent } from './node.ts'
import { describePermissions } from './permissions.ts'

const edgeBrand: unique symbol = Symbol.for('diskgraph.Edge') as never

function isEdge(handle: ChildHandle): handle is Edge {
  return edgeBrand in handle
}

/** See {@link ChildHandle} and {@link GraphEdge}. Moved by the graph only. */
export class Edge implements GraphEdge {
  readonly name: string
  readonly role: ChildRole
  readonly parent: Parent
  node: Node
  permissions = 0
  shared: number = Permission.All
  readonly frozen = new Set<{ readonly text: string }>()

  constructor(parent: Parent, name: string, role: ChildRole, node: Node) {
    this.parent = parent
    this.name = name
    this.role = role
    this.node = node
    Object.defineProperty(this, edgeBrand, { value: true })
  }

  get parentName(): string {
    return isRoot(this.parent) ? this.parent.describe() : this.parent.name
  }

  movedFrom(old: Node): void {
    const { parent } = this
    if (isRoot(parent)) parent.resized()
    else {
      parent.refreshLimits()
      if (old.size !== this.size) parent.tellSize()
    }
  }

  get size(): number {
    return this.node.image.size
  }

  get limits(): Limits {
    return this.node.limits
  }

  get readOnly(): boolean {
    return this.node.readOnly
  }

  get nodeName(): string {
    return this.node.name
  }

  get filename(): string {
    return this.node.filename
  }

  get zeroInit(): boolean {
    return this.node.image.zeroInit !== false
  }

  get writeFlags(): number {
    return this.node.image.writeFlags ?? 0
  }

  read(offset: number, buf: Uint8Array, flags = 0, signal?: AbortSignal): Promise<void> {
    const { node } = this
    if (offset + buf.length > node.image.size) return this.#readPastEnd(offset, buf, flags, signal)
    return node.read(offset, buf, flags, signal)
  }

  #readPastEnd(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    const known = Math.max(0, Math.min(buf.length, this.size - offset))
    buf.fill(0, known)
    return known === 0 ? done : this.node.read(offset, buf.subarray(0, known), flags, signal)
  }

  write(offset: number, buf: Uint8Array, flags = 0, signal?: AbortSignal): Promise<void> {
    if (offset + buf.length > this.node.image.size) {
      const refusal = this.#refuseGrowth(offset, buf.length)
      if (refusal !== undefined) return refusal
    }
    return this.node.write(offset, buf, flags, signal)
  }

  writeZeroes(offset: number, length: number, flags = 0, signal?: AbortSignal): Promise<void> {
    if (offset + length > this.node.image.size) {
      const refusal = this.#refuseGrowth(offset, length)
      if (refusal !== undefined) return refusal
    }
    return this.node.writeZeroes(offset, length, flags, signal)
  }

  #refuseGrowth(offset: number, length: number): Promise<void> | undefined {
    if ((this.permissions & Permission.Resize) !== 0) return undefined
    // Formats round the end of their storage up to whole sectors; filling the last one is no growth of the disk.
    if (offset + length <= alignUp(this.size, 512)) return undefined
    const message = `write of ${length} bytes at ${offset} is past the end of ${this.node.describe()} (${this.size} bytes)`
    return Promise.reject(new BlockError('ENOSPC', message, { node: this.node.name }))
  }

  discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    const limited = Math.min(length, this.size - offset)
    return limited <= 0 ? done : this.node.discard(offset, limited, signal)
  }

  flush(signal?: AbortSignal): Promise<void> {
    return this.node.flush(signal)
  }

  truncate(size: number, options?: TruncateOptions, signal?: AbortSignal): Promise<void> {
    return this.node.truncate(size, options, signal)
  }

  blockStatus(offset: number, length: number, signal?: AbortSignal): Promise<BlockStatus> {
    return this.node.blockStatus(offset, length, signal)
  }

  async chainStatus(
    offset: number,
    length: number,
    signal?: AbortSignal,
    bottom?: string,
  ): Promise<{ readonly length: number; readonly data: boolean; readonly zero: boolean; readonly present: boolean }> {
    const base = bottom === undefined ? undefined : belowNamed(this.node, bottom)
    if (offset >= this.size) return { length, data: false, zero: true, present: false }
    return chainStatus(this.node, base, offset, length, signal)
  }

  copyRange(
    offset: number,
    target: ChildHandle,
    targetOffset: number,
    length: number,
    signal?: AbortSignal,
  ): Promise<void> {
    const { copyRange } = this.node.image
    if (copyRange === undefined || !isEdge(target) || !this.#mayCopyTo(target)) {
      return Promise.reject(new BlockError('ENOTSUP', 'these two nodes cannot copy without memory'))
    }
    if (offset + length > this.size) {
      return Promise.reject(
        new BlockError('EINVAL', `copy of ${length} bytes at ${offset} passes the end of the source`),
      )
    }
    if (targetOffset + length > target.size) {
      const refusal = target.#refuseGrowth(targetOffset, length)
      if (refusal !== undefined) return refusal
    }
    const copy = copyRange.call(this.node.image, offset, target.node.image, targetOffset, length, signal)
    return target.node.counting(copy, targetOffset + length)
  }

  /** Only between nodes that need nothing from the core on the way: it would not see the bytes. */
  #mayCopyTo(target: Edge): boolean {
    return target.node.driver === this.node.driver && this.node.simpleRead && target.node.simpleWrite
  }

  info(): Promise<DriverInfo> {
    return this.node.info()
  }

  readSnapshot(offset: number, buf: Uint8Array, signal?: AbortSignal): Promise<void> {
    const { image } = this.node
    return image.readSnapshot?.(offset, buf, signal) ?? Promise.reject(this.#noSnapshot())
  }

  snapshotStatus(offset: number, length: number, signal?: AbortSignal): Promise<BlockStatus> {
    const { image } = this.node
    return image.snapshotStatus?.(offset, length, signal) ?? Promise.reject(this.#noSnapshot())
  }

  #noSnapshot(): BlockError {
    const { node } = this
    return new BlockError('ENOTSUP', `${node.describe()} keeps no point in time to read`, { node: node.name })
  }

  followReads(): FollowedReads {
    return this.node.followReads()
  }

  debugEvent(event: string): Promise<void> | undefined {
    const { image } = this.node
    return image.debugEvent === undefined ? undefined : image.debugEvent(event)
  }

  /** What is worth knowing of the edge, permissions in words. */
  toJSON(): Readonly<Record<string, unknown>> {
    const [permissions, shared] = [describePermissions(this.permissions), describePermissions(this.shared)]
    const parent = withoutSecrets(this.parentName)
    return { name: this.name, role: this.role, parent, node: this.nodeName, permissions, shared }
  }

  [inspection](_depth: number, options: object, inspect: Inspect): string {
    return inspected('Edge', this, options, inspect)
  }

  describe(): string {
    return `${this.parent.describe()} (uses node '${this.node.name}' as '${this.name}' child)`
  }
}

/** The node below the one called `name` in the chain of `top`; undefined if that is the last one. */
function belowNamed(top: Node, name: string): Node | undefined {
  let node = top
  while (node.name !== name) {
    const below = node.filtered ?? node.backing
    if (below === undefined) throw new BlockError('ENOENT', `node '${name}' is not below '${top.name}'`)
    node = below.node
  }
  return (node.filtered ?? node.backing)?.node
}
