/**
 * A group: members share its limits. Requests that must wait stand in one line per member and direction; when the
 * buckets allow one, the direction that did not go last comes first, and within it the member whose turn it is. So
 * neither a busy member nor a direction keeps another from its share.
 */

import { abortedError, type Clock, onAbort } from '@diskgraph/core/driver'
import { checkSettings, due, rule } from '@diskgraph/core/internal'
import { LeakyBucket } from './bucket.ts'
import { bucketNames, changedLimits, noLimits, type ThrottleLimits } from './limits.ts'

interface Waiter {
  readonly bytes: number
  go(): void
}

type Direction = 'read' | 'write'

/** Longest time that the timers of all runtimes know. */
const longestTimeout = 2 ** 30
/** Shortest that makes a clock go on, however its fractions are rounded. */
const shortestTimeout = 0.001

/** Settings of a {@link ThrottleGroup}. */
export interface ThrottleGroupSettings {
  readonly clock: Clock
  readonly name?: string
  /** Default: none. */
  readonly limits?: Readonly<Partial<ThrottleLimits>>
  /** Called when its last member has left. */
  readonly onEmpty?: () => void
}

const rules = {
  clock: { ...due.clock, required: true },
  name: due.text,
  limits: rule('an object of limits', (value) => typeof value === 'object' && value !== null),
  onEmpty: due.callback,
}

/** See the top of the file. */
export class ThrottleGroup {
  readonly name: string
  readonly #clock: Clock
  readonly #onEmpty: (() => void) | undefined
  readonly #members = new Set<ThrottleMember>()
  readonly #turns: Readonly<Record<Direction, Set<ThrottleMember>>> = { read: new Set(), write: new Set() }
  #limits: ThrottleLimits
  #bytes: Readonly<Record<Direction, readonly LeakyBucket[]>> = { read: [], write: [] }
  #operations: Readonly<Record<Direction, readonly LeakyBucket[]>> = { read: [], write: [] }
  #buckets: readonly LeakyBucket[] = []
  #time: number
  #next: Direction = 'read'
  #cancelTimer: (() => void) | undefined

  /** EINVAL for settings or limits that are none. */
  constructor(settings: ThrottleGroupSettings) {
    checkSettings('new ThrottleGroup', rules, settings)
    const { clock, name = '', limits = {}, onEmpty } = settings
    this.name = name
    this.#clock = clock
    this.#onEmpty = onEmpty
    this.#time = clock.now()
    this.#limits = changedLimits(noLimits, limits)
    this.#fill()
  }

  get limits(): ThrottleLimits {
    return this.#limits
  }

  /** Whether a member uses it. */
  get inUse(): boolean {
    return this.#members.size > 0
  }

  /** Changes some limits. The buckets are empty then, and requests that wait are looked at anew. EINVAL as QEMU. */
  change(limits: Readonly<Record<string, unknown>>): void {
    this.#limits = changedLimits(this.#limits, limits)
    this.#fill()
    this.#dispatch()
  }

  /** Sets all limits: those that are left out are none. EINVAL as QEMU. */
  set(limits: Readonly<Partial<ThrottleLimits>>): void {
    this.change({ ...noLimits, ...limits })
  }

  join(): ThrottleMember {
    const member = new ThrottleMember(this)
    this.#members.add(member)
    return member
  }

  /** @internal */
  leave(member: ThrottleMember): void {
    if (this.#members.delete(member) && this.#members.size === 0) this.#onEmpty?.()
  }

  /** @internal Whether a request of `direction` may go now; it is counted then. */
  pass(direction: Direction, bytes: number, always: boolean): boolean {
    if (this.#buckets.length === 0) return true
    this.#leak()
    if (!always && (this.#turns[direction].size > 0 || this.#wait(direction) > 0)) return false
    this.#pour(direction, bytes)
    return true
  }

  /** @internal A request of `member` waits. */
  lineUp(direction: Direction, member: ThrottleMember): void {
    this.#turns[direction].add(member)
    if (this.#cancelTimer === undefined) this.#dispatch()
  }

  /** @internal No request of `member` waits any more. */
  stepBack(direction: Direction, member: ThrottleMember): void {
    this.#turns[direction].delete(member)
    if (this.#turns.read.size === 0 && this.#turns.write.size === 0) this.#stopTimer()
  }

  #fill(): void {
    const limits = this.#limits
    const made = new Map<string, LeakyBucket>()
    for (const name of bucketNames) {
      if (limits[name] > 0)
        made.set(name, new LeakyBucket(limits[name], limits[`${name}Max`], limits[`${name}MaxLength`]))
    }
    const of = (...names: string[]): LeakyBucket[] => names.flatMap((name) => made.get(name) ?? [])
    this.#buckets = [...made.values()]
    this.#bytes = { read: of('bpsTotal', 'bpsRead'), write: of('bpsTotal', 'bpsWrite') }
    this.#operations = { read: of('iopsTotal', 'iopsRead'), write: of('iopsTotal', 'iopsWrite') }
    this.#time = this.#clock.now()
  }

  #leak(): void {
    const now = this.#clock.now()
    const passed = now - this.#time
    if (passed <= 0) return
    this.#time = now
    for (const bucket of this.#buckets) bucket.leak(passed)
  }

  #pour(direction: Direction, bytes: number): void {
    const { iopsSize } = this.#limits
    for (const bucket of this.#bytes[direction]) bucket.pour(bytes)
    const operations = iopsSize > 0 && bytes > iopsSize ? bytes / iopsSize : 1
    for (const bucket of this.#operations[direction]) bucket.pour(operations)
  }

  #wait(direction: Direction): number {
    let wait = 0
    for (const bucket of this.#bytes[direction]) wait = Math.max(wait, bucket.wait())
    for (const bucket of this.#operations[direction]) wait = Math.max(wait, bucket.wait())
    return wait
  }

  /** Lets go whoever may go now, and wakes for the next. */
  #dispatch(): void {
    this.#stopTimer()
    this.#leak()
    for (;;) {
      const first = this.#waitOf(this.#next)
      const second = this.#waitOf(other(this.#next))
      const wait = Math.min(first, second)
      if (wait === Number.POSITIVE_INFINITY) return
      if (wait > 0) {
        this.#cancelTimer = this.#clock.timeout(Math.min(Math.max(wait, shortestTimeout), longestTimeout), () =>
          this.#dispatch(),
        )
        return
      }
      const direction = first === 0 ? this.#next : other(this.#next)
      this.#next = other(direction)
      this.#letGo(direction)
    }
  }

  #waitOf(direction: Direction): number {
    return this.#turns[direction].size === 0 ? Number.POSITIVE_INFINITY : this.#wait(direction)
  }

  #letGo(direction: Direction): void {
    const turns = this.#turns[direction]
    const [member] = turns
    if (member === undefined) return
    turns.delete(member)
    const waiter = member.take(direction)
    if (member.isWaiting(direction)) turns.add(member)
    if (waiter === undefined) return
    this.#pour(direction, waiter.bytes)
    waiter.go()
  }

  #stopTimer(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }
}

function other(direction: Direction): Direction {
  return direction === 'read' ? 'write' : 'read'
}

/** Somebody whose requests a group holds back: a device, a node. */
export class ThrottleMember {
  readonly group: ThrottleGroup
  readonly #lines: Readonly<Record<Direction, Set<Waiter>>> = { read: new Set(), write: new Set() }
  #drained = 0

  /** @internal Made by {@link ThrottleGroup.join}. */
  constructor(group: ThrottleGroup) {
    this.group = group
  }

  /**
   * Asks for a request of `bytes` bytes. Undefined when it may go now, else a promise for when it may: in the order
   * of asking among those of this member and direction. ECANCELED when `signal` is aborted first.
   */
  admit(direction: Direction, bytes: number, signal?: AbortSignal): Promise<void> | undefined {
    return this.group.pass(direction, bytes, this.#drained > 0) ? undefined : this.#wait(direction, bytes, signal)
  }

  /** Lets go all requests that wait, and those that come, until {@link drainEnd}. They are counted all the same. */
  drainBegin(): void {
    this.#drained++
    for (const direction of ['read', 'write'] as const) {
      this.group.stepBack(direction, this)
      for (;;) {
        const waiter = this.take(direction)
        if (waiter === undefined) break
        this.group.pass(direction, waiter.bytes, true)
        waiter.go()
      }
    }
  }

  drainEnd(): void {
    this.#drained--
  }

  /** Leaves the group; requests that wait may go. */
  leave(): void {
    this.drainBegin()
    this.group.leave(this)
  }

  /** @internal The request that waits longest. */
  take(direction: Direction): Waiter | undefined {
    const line = this.#lines[direction]
    const [first] = line
    if (first !== undefined) line.delete(first)
    return first
  }

  /** @internal */
  isWaiting(direction: Direction): boolean {
    return this.#lines[direction].size > 0
  }

  #wait(direction: Direction, bytes: number, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) return Promise.reject(abortedError(signal))
    return new Promise((resolve, reject) => {
      const line = this.#lines[direction]
      const go = (): void => {
        leave()
        resolve()
      }
      const waiter: Waiter = { bytes, go }
      const leave = onAbort(signal, () => {
        line.delete(waiter)
        if (line.size === 0) this.group.stepBack(direction, this)
        reject(abortedError(signal as AbortSignal))
      })
      line.add(waiter)
      this.group.lineUp(direction, this)
    })
  }
}
