/**
 * The requests of a guest, and what becomes of their errors. One that a policy stops is parked, not failed: it is no
 * longer in flight, so the graph can change meanwhile, and `cont` makes it anew on whatever node stands here then.
 */

import { BlockError, type BlockGraph, describeErrorCode, errorCodeOf, type Node } from '@diskgraph/core'
import { type ErrorPolicies, errorAction, errorPolicies, mayStop } from './error-policy.ts'
import type { Medium } from './medium.ts'
import { Parking } from './parking.ts'
import type { RunState } from './run-state.ts'

/** QAPI's BlockDeviceIoStatus. */
export type IoStatus = 'ok' | 'failed' | 'nospace'

/** Whose guests these are. */
interface GuestSystem {
  readonly graph: Pick<BlockGraph, 'emit'>
  readonly runState: RunState
}

/** See the top of the file. The requests are those of a `Disk`, with its errors. */
export abstract class Guest {
  #policies: ErrorPolicies
  readonly #system: GuestSystem
  readonly #parking = new Parking()
  #ioStatus: IoStatus = 'ok'
  /** Changes of the medium under way: requests wait. */
  #changing = 0
  #closed = false

  constructor(system: GuestSystem, policies: Partial<ErrorPolicies>) {
    this.#system = system
    this.#policies = errorPolicies(policies)
  }

  abstract readonly id: string
  abstract readonly name: string
  abstract readonly medium: Medium | undefined
  abstract readonly node: Node | undefined
  /** Whether errors that stop the guest are remembered. */
  protected abstract readonly hasIoStatus: boolean

  get policies(): ErrorPolicies {
    return this.#policies
  }

  /** Sets the policies that are given; they hold for errors from now on. EINVAL for those that are none. */
  setPolicies(policies: Partial<ErrorPolicies>): void {
    this.#policies = errorPolicies({ ...this.#policies, ...policies })
  }

  /** The error that stopped the guest; undefined where none is remembered. */
  get ioStatus(): IoStatus | undefined {
    return this.#remembersErrors ? this.#ioStatus : undefined
  }

  get closed(): boolean {
    return this.#closed
  }

  read(offset: number, buf: Uint8Array, flags = 0, signal?: AbortSignal): Promise<void> {
    return this.#guest('read', offset, buf.length, (medium) => medium.read(offset, buf, flags, signal), signal)
  }

  write(offset: number, buf: Uint8Array, flags = 0, signal?: AbortSignal): Promise<void> {
    return this.#guest('write', offset, buf.length, (medium) => medium.write(offset, buf, flags, signal), signal)
  }

  writeZeroes(offset: number, length: number, flags = 0, signal?: AbortSignal): Promise<void> {
    return this.#guest('write', offset, length, (medium) => medium.writeZeroes(offset, length, flags, signal), signal)
  }

  discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    return this.#guest('write', offset, length, (medium) => medium.discard(offset, length, signal), signal)
  }

  flush(signal?: AbortSignal): Promise<void> {
    return this.#guest('write', 0, 0, (medium) => medium.flush(signal), signal)
  }

  /** @internal The guest runs (again). */
  resume(): void {
    this.#ioStatus = 'ok'
    this.#parking.release()
  }

  /** Holds requests while `work` changes the medium. */
  protected async holding<T>(work: () => Promise<T>): Promise<T> {
    this.#changing++
    try {
      return await work()
    } finally {
      this.#changing--
      if (this.#changing === 0 && this.#system.runState.running) this.#parking.release()
    }
  }

  /** Fails what waits: with the error that holds it, or ENOMEDIUM. */
  protected end(): void {
    this.#closed = true
    this.#parking.end(() => closedError(this.name))
  }

  get #remembersErrors(): boolean {
    return this.hasIoStatus && mayStop(this.policies)
  }

  async #guest(
    operation: 'read' | 'write',
    offset: number,
    length: number,
    request: (medium: Medium) => Promise<void>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    for (;;) {
      while (!this.#closed && (this.#changing > 0 || !this.#system.runState.running)) {
        await this.#parking.wait(undefined, signal)
      }
      if (this.#closed) throw closedError(this.name)
      const { medium } = this
      if (medium === undefined) throw new BlockError('ENOMEDIUM', `there is no medium in device '${this.name}'`)
      try {
        return await request(medium)
      } catch (error) {
        const isStorage = offset + length <= medium.size && !blameless.has(errorCodeOf(error)) && !signal?.aborted
        const action = isStorage ? this.#failed(operation, error) : 'report'
        if (action === 'ignore') return
        if (action === 'report' || this.#closed) throw error
        // Who heard of it may have let the guests go on already.
        if (!this.#system.runState.running) await this.#parking.wait(error, signal)
      }
    }
  }

  /** Tells of an error of the storage, and stops the guest if the policy says so. */
  #failed(operation: 'read' | 'write', error: unknown): 'report' | 'ignore' | 'stop' {
    const { graph, runState } = this.#system
    const code = errorCodeOf(error)
    const action = errorAction(this.policies, operation, code)
    if (action === 'stop' && this.#ioStatus === 'ok') this.#ioStatus = code === 'ENOSPC' ? 'nospace' : 'failed'
    const { node } = this
    graph.emit({
      event: 'BLOCK_IO_ERROR',
      data: {
        device: this.id,
        ...(node === undefined ? {} : { nodeName: node.name }),
        operation,
        action,
        ...(this.#remembersErrors ? { nospace: code === 'ENOSPC' } : {}),
        reason: describeErrorCode(code),
      },
    })
    if (action === 'stop') runState.stop('io-error')
    return action
  }
}

/** Errors of who asks, not of the storage. */
const blameless = new Set(['ECANCELED', 'EINVAL', 'ENOMEDIUM', 'EPERM'])

function closedError(name: string): BlockError {
  return new BlockError('ENOMEDIUM', `device '${name}' is closed`)
}
