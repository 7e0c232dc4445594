/** What a device uses of the graph while it has a medium: a disk whose requests are throttled and counted. */

import { type BlockGraph, Disk, type DiskGraph, Flag, type Node, Permission, type RequestKind } from '@diskgraph/core'
import type { ThrottleMember } from '@diskgraph/throttle'
import type { Accounting } from './accounting.ts'

/** What a medium needs of its device. */
export interface Backend {
  /** The name of the device, or empty. */
  readonly id: string
  readonly accounting: Accounting
  readonly throttle: ThrottleMember | undefined
  readonly writeCache: boolean
}

/** The graph of devices. */
export type DeviceGraph = BlockGraph & DiskGraph

/** See the top of the file. Errors are those of a `Disk`; no policy of the device is applied to them. */
export class Medium extends Disk {
  readonly #backend: Backend
  readonly #underWay = new Set<Promise<void>>()

  /** `description` is for messages: `block device 'drive0'`. */
  constructor(graph: DiskGraph, node: Node, backend: Backend, description: string) {
    // What it may do is set when it is attached.
    super(graph, node, { description, permissions: { permissions: 0, shared: Permission.All } })
    this.#backend = backend
  }

  get deviceName(): string | undefined {
    return this.#backend.id === '' ? undefined : this.#backend.id
  }

  override read(offset: number, buf: Uint8Array, flags = 0, signal?: AbortSignal): Promise<void> {
    const request = (): Promise<void> => super.read(offset, buf, flags, signal)
    return this.#run('read', offset, buf.length, request, signal)
  }

  override write(offset: number, buf: Uint8Array, flags = 0, signal?: AbortSignal): Promise<void> {
    const request = (): Promise<void> => super.write(offset, buf, this.#withCache(flags), signal)
    return this.#run('write', offset, buf.length, request, signal)
  }

  override writeZeroes(offset: number, length: number, flags = 0, signal?: AbortSignal): Promise<void> {
    const request = (): Promise<void> => super.writeZeroes(offset, length, this.#withCache(flags), signal)
    return this.#run('write', offset, length, request, signal)
  }

  override discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    return this.#run('discard', offset, length, () => super.discard(offset, length, signal), signal)
  }

  override flush(signal?: AbortSignal): Promise<void> {
    return this.#run('flush', 0, 0, () => super.flush(signal), signal)
  }

  #withCache(flags: number): number {
    return this.#backend.writeCache ? flags : flags | Flag.Fua
  }

  /** Resolves when all requests that are under way now have ended, those that wait for the throttle included. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#underWay])
  }

  #run(
    kind: RequestKind,
    offset: number,
    bytes: number,
    request: () => Promise<void>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const run = this.#counted(kind, offset, bytes, request, signal).finally(() => this.#underWay.delete(run))
    this.#underWay.add(run)
    return run
  }

  async #counted(
    kind: RequestKind,
    offset: number,
    bytes: number,
    request: () => Promise<void>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { accounting, throttle } = this.#backend
    if (!(offset + bytes <= this.size)) {
      accounting.invalid(kind)
      return request()
    }
    const begin = accounting.now()
    try {
      if (kind === 'read' || kind === 'write') await throttle?.admit(kind, bytes, signal)
      await request()
    } catch (error) {
      accounting.failed(kind, begin)
      throw error
    }
    accounting.done(kind, bytes, begin)
  }
}
