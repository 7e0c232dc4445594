/**
 * A small seeded generator of pseudo-random numbers: the same seed gives the same sequence everywhere. A counter that
 * steps by an odd constant goes through all 2^32 values, and a mixing function that also takes the stream's number
 * spreads them: every seed has a stream of its own, and a stream repeats itself after 2^32 words.
 */
export class Random {
  readonly seed: number
  #counter: number
  readonly #stream: number

  constructor(seed: number) {
    this.seed = seed
    const low = mix(seed >>> 0)
    this.#counter = low
    this.#stream = mix((Math.floor(seed / 2 ** 32) ^ low ^ 0x85ebca6b) >>> 0)
  }

  /** 32 random bits as a number from 0. */
  word(): number {
    this.#counter = (this.#counter + 0x9e3779b9) >>> 0
    return mix((mix((this.#counter ^ this.#stream) >>> 0) ^ this.#stream) >>> 0)
  }

  /** A number from 0 to 1, without 1. */
  fraction(): number {
    return this.word() / 2 ** 32
  }

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    return Math.floor((((this.word() % 2 ** 21) * 2 ** 32 + this.word()) / 2 ** 53) * limit)
  }

  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1)
  }

  /** True with probability `p`. */
  chance(p: number): boolean {
    return this.fraction() < p
  }

  /** One of `items`. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T
  }

  /** One of the keys of `weights`, as often as its weight says. */
  weighted<K extends string>(weights: Readonly<Partial<Record<K, number>>>): K {
    const entries = Object.entries(weights) as [K, number][]
    let at = this.fraction() * entries.reduce((sum, [, weight]) => sum + weight, 0)
    for (const [key, weight] of entries) {
      at -= weight
      if (at < 0) return key
    }
    return (entries[entries.length - 1] as [K, number])[0]
  }

  /** `length` random bytes. */
  bytes(length: number): Uint8Array {
    const buf = new Uint8Array(length)
    for (let i = 0; i < length; i++) buf[i] = this.word() >>> 24
    return buf
  }

  /** A generator of its own for one part of a test, so that parts do not disturb each other. */
  fork(): Random {
    return new Random(this.word() + (this.word() % 2 ** 20) * 2 ** 32)
  }
}

/** A seed for a run that was not given one. */
export function randomSeed(): number {
  return Math.floor(Math.random() * 2 ** 31)
}

/** Spreads 32 bits over 32 bits, one to one. */
function mix(word: number): number {
  const once = Math.imul(word ^ (word >>> 16), 0x85ebca6b)
  const twice = Math.imul(once ^ (once >>> 13), 0xc2b2ae35)
  return (twice ^ (twice >>> 16)) >>> 0
}
