import {
  BlockError,
  type Child,
  type DriverDescriptor,
  describeErrorCode,
  type ErrorCode,
  type OpenContext,
} from '@diskgraph/core'
import { type Call, type CallKind, callKinds, ForwardingImage } from './forward.ts'
import type { Random } from './random.ts'

declare module '@diskgraph/core' {
  interface BlockDrivers {
    'testkit-fault': { open: { file: Child } }
  }
}

/** Which calls fail, and how. */
export interface Fault {
  /** The first call that fails, counted from 1 among calls of `kinds`, since {@link Faults.arm}. */
  readonly nth: number
  readonly code: ErrorCode
  /** Default: all kinds. */
  readonly kinds?: readonly CallKind[]
  /** Every later call fails too. Default: one call does. */
  readonly lasting?: boolean
  /** A failing write stores this part of its data first (0 to 1). Default 0. */
  readonly written?: number
}

/**
 * Faults and delays below a driver. Its descriptor `testkit-fault` is a filter: put it between the driver under test
 * and its storage. Several nodes of it share the counter.
 */
export class Faults {
  /** Calls seen since {@link arm} or construction. */
  calls = 0
  /** Calls that were made to fail since {@link arm}, in order. */
  hits: Call[] = []
  /** Set: every call is put off by a random number of turns before and after, the same for the same seed. */
  jitter: Random | undefined
  readonly driver: DriverDescriptor
  #fault: Fault | undefined

  constructor() {
    this.driver = {
      name: 'testkit-fault',
      kind: 'filter',
      description: 'Fails or delays chosen calls, for tests.',
      options: { file: { type: 'child', role: 'filtered', required: true, description: 'The storage' } },
      open: async (context: OpenContext) => new FaultImage(context.children.require('file'), this),
    }
  }

  /** Starts to count anew, and fails what `fault` says. */
  arm(fault?: Fault): void {
    this.#fault = fault
    this.calls = 0
    this.hits = []
  }

  /** Lets everything through; `hits` stays. */
  disarm(): void {
    this.#fault = undefined
  }

  /** Counts a call; the error that it shall fail with, or undefined. */
  check(call: Call): BlockError | undefined {
    const fault = this.#fault
    if (!(fault?.kinds ?? callKinds).includes(call.kind)) return undefined
    this.calls++
    if (fault === undefined || this.calls < fault.nth || (this.calls > fault.nth && !fault.lasting)) return undefined
    this.hits.push(call)
    return new BlockError(fault.code, `injected ${fault.code}: ${describeErrorCode(fault.code)}`)
  }

  /** How much of a failing write is stored. */
  get written(): number {
    return this.#fault?.written ?? 0
  }
}

class FaultImage extends ForwardingImage {
  readonly #faults: Faults

  constructor(child: ConstructorParameters<typeof ForwardingImage>[0], faults: Faults) {
    super(child)
    this.#faults = faults
  }

  protected override around<T>(call: Call, forward: () => Promise<T>): Promise<T> {
    const failure = this.#faults.check(call)
    const { jitter } = this.#faults
    if (failure !== undefined) return this.#fail(call, failure)
    return jitter === undefined ? forward() : delayed(jitter, forward)
  }

  async #fail(call: Call, failure: BlockError): Promise<never> {
    const length = Math.floor((call.data?.length ?? 0) * this.#faults.written)
    if (call.data !== undefined && length > 0) await this.child.write(call.offset, call.data.subarray(0, length))
    throw failure
  }
}

async function delayed<T>(random: Random, forward: () => Promise<T>): Promise<T> {
  await turns(random.below(12))
  try {
    return await forward()
  } finally {
    await turns(random.below(12))
  }
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await undefined
}
