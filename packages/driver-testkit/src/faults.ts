import {
  BlockError,
  type Child,
  type DriverDescriptor,
  describeErrorCode,
  type ErrorCode,
  type OpenContext,
} from '@diskgraph/core/driver'
import { turns } from './assertions.ts'
import { type Call, type CallKind, callKinds, ForwardingImage } from './forward.ts'
import type { Random } from './random.ts'

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    'testkit-fault': { open: { file: Child } }
  }
}

/** Which calls fail, and how. */
export interface Fault {
  /** The first call that fails, counted from 1 among calls of `kinds`, since {@link Faults.arm}. */
  readonly nth: number
  /** Left out: the calls go through, and only {@link onHit} hears of them. */
  readonly code?: ErrorCode
  /** Default: all kinds. */
  readonly kinds?: readonly CallKind[]
  /** Every later call fails too. Default: one call does. */
  readonly lasting?: boolean
  /** A failing write stores this part of its data first (0 to 1). Default 0. */
  readonly written?: number
  /** The call throws at once, where others return a promise that rejects. */
  readonly thrown?: boolean
  /** Called when a call is hit, before anything happens to it. */
  readonly onHit?: () => void
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
  #heldKinds: readonly CallKind[] = []
  #held: (() => void)[] = []

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
    fault.onHit?.()
    if (fault.code === undefined) return undefined
    const failure = new BlockError(fault.code, `injected ${fault.code}: ${describeErrorCode(fault.code)}`)
    if (fault.thrown === true) throw failure
    return failure
  }

  /** Holds calls of these kinds back that come from now on, and those that are held already, until {@link release}. */
  hold(...kinds: CallKind[]): void {
    this.#heldKinds = kinds
  }

  /** Lets the calls that are held go on, in their order; the number of them. */
  release(): number {
    const held = this.#held
    this.#held = []
    this.#heldKinds = []
    for (const wake of held) wake()
    return held.length
  }

  /** A promise for a call that is held back; undefined for one that may go on. */
  turnOf(call: Call): Promise<void> | undefined {
    if (!this.#heldKinds.includes(call.kind)) return undefined
    return new Promise((resolve) => this.#held.push(resolve))
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
    const turn = this.#faults.turnOf(call)
    if (turn !== undefined) return turn.then(forward)
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
