import { type ErrorCode, errorCodeOf, isBlockError } from '@diskgraph/core/driver'

/** Throws an error that says `message` unless `condition` holds. */
export function must(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message)
}

/** Throws unless `buf` is all `value`. */
export function mustBeAll(buf: Uint8Array, value: number, what: string): void {
  const at = buf.findIndex((byte) => byte !== value)
  must(at < 0, `${what}: byte ${at} is ${buf[at]} instead of ${value}`)
}

/** Throws unless the two are the same bytes. */
export function mustEqual(actual: Uint8Array, expected: Uint8Array, what: string): void {
  must(actual.length === expected.length, `${what}: ${actual.length} bytes instead of ${expected.length}`)
  const at = actual.findIndex((byte, i) => byte !== expected[i])
  must(at < 0, `${what}: byte ${at} is ${actual[at]} instead of ${expected[at]}`)
}

/** The code of the BlockError that `attempt` ends with; throws if it does not, or with one not in `codes`. */
export async function mustReject(
  attempt: Promise<unknown> | (() => Promise<unknown>),
  what: string,
  codes?: readonly ErrorCode[],
): Promise<ErrorCode> {
  let failure: unknown
  try {
    await (typeof attempt === 'function' ? attempt() : attempt)
  } catch (error) {
    failure = error
  }
  must(failure !== undefined, `${what} succeeds, but must fail`)
  must(isBlockError(failure), `${what} fails with something that is not a BlockError: ${String(failure)}`)
  const code = errorCodeOf(failure)
  must(codes === undefined || codes.includes(code), `${what} fails with ${code} instead of ${codes?.join(' or ')}`)
  return code
}

/** Milliseconds after which a promise of a test is taken to be one that never settles, unless a test says otherwise. */
export const patience = { milliseconds: 20_000 }

/** The result of `promise`; an error that says `what` when it does not settle in time. */
export async function mustSettle<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} never ends`)), patience.milliseconds)
  })
  try {
    return await Promise.race([promise, silence])
  } finally {
    clearTimeout(timer)
  }
}

/** Lets everything that is ready go on, `count` times. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await undefined
}
