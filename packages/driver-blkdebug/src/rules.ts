/**
 * The rules of one blkdebug node.
 *
 * An event does two things, both judged by the state that was current when it came: it may *arm* error rules, and
 * it may change the state. Arming replaces whatever was armed before, rules of `none` (armed at opening) among
 * them; an event without a fitting error rule leaves the armed rules alone. A request then fails with the first
 * armed rule, in the order in which rules were given, whose kind and sector fit. A rule with errno 0 fits too and
 * lets the request through, so it shields those behind it. Of several state changes on one event the first counts.
 */
import type { ErrorCode } from '@diskgraph/core/driver'
import { canonicalEvent } from './events.ts'

/** Kinds of requests that a rule may be limited to. */
export const requestKinds = ['read', 'write', 'write-zeroes', 'discard', 'flush', 'block-status'] as const

/** Kind of a request. */
export type RequestKind = (typeof requestKinds)[number]

/** Fails requests once `event` has armed it. */
export interface ErrorRule {
  readonly event: string
  /** The state in which `event` arms it; 0 for any. */
  readonly state: number
  /** Undefined: every kind but `block-status`. */
  readonly kind: RequestKind | undefined
  /** Undefined: the request goes through. */
  readonly code: ErrorCode | undefined
  /** The byte that a request must contain; undefined for any request. */
  readonly offset: number | undefined
  /** The rule is gone when it has failed a request. */
  readonly once: boolean
  /** The request fails at once rather than after a turn of the event loop. */
  readonly immediately: boolean
}

/** Changes the state on `event`. */
export interface StateRule {
  readonly event: string
  /** The state in which it applies; 0 for any. */
  readonly state: number
  readonly newState: number
}

/** See the top of the file. Nodes begin in state 1. */
export class Rules {
  state = 1
  readonly #errors: ErrorRule[]
  readonly #states: readonly StateRule[]
  readonly #events: ReadonlySet<string>
  #armed: readonly ErrorRule[] = []

  constructor(errors: readonly ErrorRule[], states: readonly StateRule[]) {
    this.#errors = [...errors]
    this.#states = states
    this.#events = new Set([...errors, ...states].map(({ event }) => event))
    this.happen('none')
  }

  /** Arms error rules and changes the state, as the rules of `event` say. */
  happen(event: string): void {
    const name = canonicalEvent(event)
    if (name === undefined || !this.#events.has(name)) return
    const { state } = this
    const applies = (rule: ErrorRule | StateRule): boolean =>
      rule.event === name && (rule.state === 0 || rule.state === state)
    const errors = this.#errors.filter(applies)
    if (errors.length > 0) this.#armed = errors
    this.state = this.#states.find(applies)?.newState ?? state
  }

  /** The rule that a request meets, if any; a rule that applies once is used up by that. */
  meet(kind: RequestKind, offset: number, length: number): ErrorRule | undefined {
    const rule = this.#armed.find((armed) => fits(armed, kind, offset, length))
    if (rule?.once && rule.code !== undefined) {
      this.#armed = this.#armed.filter((armed) => armed !== rule)
      this.#errors.splice(this.#errors.indexOf(rule), 1)
    }
    return rule
  }
}

function fits(rule: ErrorRule, kind: RequestKind, offset: number, length: number): boolean {
  if (rule.kind === undefined ? kind === 'block-status' : kind !== rule.kind) return false
  return rule.offset === undefined || (rule.offset >= offset && rule.offset < offset + length)
}
