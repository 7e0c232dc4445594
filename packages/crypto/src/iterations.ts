/** How many iterations of PBKDF2 take how long on this machine. */
import { BlockError, type Clock } from '@diskgraph/core/driver'
import type { HashAlgorithm, Platform } from './platform.ts'

/** As long may one derivation of a key take: a header may ask for hours, and nothing can stop it then. */
const longest = 10_000
/** Milliseconds of work from which the rest is told. */
const sample = 20
/** No clock is so coarse: one that stands still (in a simulation) ends the search. */
const largestSample = 2 ** 20
/** No fewer are used for a password. */
const fewest = 1000

/** Iterations per millisecond of a derivation of `length` bytes. */
async function measureRate(platform: Platform, clock: Clock, hash: HashAlgorithm, length: number): Promise<number> {
  const [password, salt] = [new Uint8Array(8), new Uint8Array(32)]
  for (let iterations = 1024; ; iterations *= 4) {
    const begin = clock.now()
    await platform.pbkdf2(hash, password, salt, iterations, length)
    const elapsed = clock.now() - begin
    if (elapsed >= sample || iterations >= largestSample) return iterations / Math.max(elapsed, 1)
  }
}

/** How many iterations a derivation of `length` bytes does in `milliseconds`, and an eighth of that; 1000 at least. */
export async function iterationsFor(
  platform: Platform,
  clock: Clock,
  hash: HashAlgorithm,
  length: number,
  milliseconds: number,
): Promise<{ readonly key: number; readonly digest: number }> {
  const rate = await measureRate(platform, clock, hash, length)
  const bounded = (count: number): number => Math.min(Math.max(Math.floor(count), fewest), 0xffffffff)
  return { key: bounded(rate * milliseconds), digest: bounded((rate * milliseconds) / 8) }
}

/** Throws EINVAL for so many iterations that a derivation would take longer than anybody waits. */
export async function checkIterations(
  platform: Platform,
  clock: Clock,
  hash: HashAlgorithm,
  length: number,
  iterations: number,
): Promise<void> {
  // So many are done in that time on every machine.
  if (iterations <= 1_000_000) return
  const seconds = Math.round(iterations / (await measureRate(platform, clock, hash, length)) / 1000)
  if (seconds * 1000 <= longest) return
  throw new BlockError('EINVAL', `a key derivation of ${iterations} iterations would take ${seconds} s`, {
    hint: `at most ${longest / 1000} s are spent on one; change the password with fewer iterations by another program`,
  })
}
