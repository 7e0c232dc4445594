/** How many iterations of PBKDF2 take how long on this machine, and how much work of key derivation is done at most. */
import { BlockError, type Clock } from '@diskgraph/core/driver'
import type { HashAlgorithm, Platform } from './platform.ts'

/**
 * So many are made and read at most: a header may ask for hours, and nothing can stop a derivation. It is a number and no
 * time, so that a volume that opens on a quiet machine opens on a busy one.
 */
const most = 2 ** 25
/** Milliseconds of work from which the rest is told. */
const sample = 20
/** The best of so many counts: others may be at work. */
const samples = 3
/** No clock is so coarse: one that stands still (in a simulation) ends the search. */
const largestSample = 2 ** 20
/** No fewer are used for a password. */
const fewest = 1000

/** What was measured, or is being measured, by clock and platform: those that ask at once must not slow each other down. */
const known = new WeakMap<Clock, WeakMap<Platform, Map<string, Promise<number>>>>()

/** Iterations per millisecond of a derivation of `length` bytes. */
function rateOf(platform: Platform, clock: Clock, hash: HashAlgorithm, length: number): Promise<number> {
  const platforms = known.get(clock) ?? new WeakMap<Platform, Map<string, Promise<number>>>()
  known.set(clock, platforms)
  const rates = platforms.get(platform) ?? new Map<string, Promise<number>>()
  platforms.set(platform, rates)
  const key = `${hash} ${length}`
  const rate = rates.get(key) ?? measureRate(platform, clock, hash, length)
  rates.set(key, rate)
  rate.catch(() => rates.delete(key))
  return rate
}

async function measureRate(platform: Platform, clock: Clock, hash: HashAlgorithm, length: number): Promise<number> {
  const [password, salt] = [new Uint8Array(8), new Uint8Array(32)]
  const timeOf = async (iterations: number): Promise<number> => {
    const begin = clock.now()
    await platform.pbkdf2(hash, password, salt, iterations, length)
    return Math.max(clock.now() - begin, 1)
  }
  let iterations = 1024
  let elapsed = await timeOf(iterations)
  while (elapsed < sample && iterations < largestSample) {
    iterations *= 4
    elapsed = await timeOf(iterations)
  }
  for (let i = 1; i < samples; i++) elapsed = Math.min(elapsed, await timeOf(iterations))
  return iterations / elapsed
}

/** How many iterations a derivation of `length` bytes does in `milliseconds`, and an eighth of that; 1000 at least. */
export async function iterationsFor(
  platform: Platform,
  clock: Clock,
  hash: HashAlgorithm,
  length: number,
  milliseconds: number,
): Promise<{ readonly key: number; readonly digest: number }> {
  const rate = await rateOf(platform, clock, hash, length)
  const bounded = (count: number): number => Math.min(Math.max(Math.floor(count), fewest), most)
  return { key: bounded(rate * milliseconds), digest: bounded((rate * milliseconds) / 8) }
}

/** Throws EINVAL for so many iterations that a derivation would take longer than anybody waits. */
export function checkIterations(iterations: number): void {
  if (iterations <= most) return
  throw new BlockError('EINVAL', `a key derivation of ${iterations} iterations is refused`, {
    hint: `at most ${most} are done; change the password with fewer iterations by another program`,
  })
}

/** What the slots of one volume may take together: eight that were each made for a second or two on a fast machine fit. */
export class IterationBudget {
  #left = 3 * most

  /** Throws EINVAL when less than that is left, and takes nothing then. */
  take(iterations: number): void {
    if (iterations <= this.#left) {
      this.#left -= iterations
      return
    }
    throw new BlockError('EINVAL', `to try all key slots takes more than ${3 * most} iterations of key derivation`, {
      hint: 'erase slots, or change their passwords with fewer iterations, by another program',
    })
  }
}

/** KiB, cryptsetup's own limit unless somebody asks for more. */
const mostMemory = 2 ** 20
/** KiB that are gone through, in all passes: a minute's work. */
const mostWork = 32 * mostMemory

/** The same of Argon2, which nothing can stop either; memory is in KiB. */
export class Argon2Budget {
  #left = mostWork

  /** Throws EINVAL for a slot that would take more memory, or longer, than anybody has. */
  take({ passes, memory }: { readonly passes: number; readonly memory: number }): void {
    const work = passes * memory
    if (memory > mostMemory || work > this.#left) {
      const bound = `at most ${mostMemory} KiB are taken, and ${mostWork} KiB in the passes of all slots`
      throw new BlockError('EINVAL', `Argon2 over ${memory} KiB in ${passes} passes is refused`, {
        hint: `${bound}: change the password with less by cryptsetup`,
      })
    }
    this.#left -= work
  }
}
